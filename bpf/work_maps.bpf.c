// SPDX-License-Identifier: MIT OR Apache-2.0
/* Maps of many types, all of them used by one packet. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

#define ARRAY_LIKE(name_, type_) \
	struct { \
		__uint(type, type_); \
		__uint(max_entries, 4); \
		__type(key, __u32); \
		__type(value, __u64); \
	} name_ SEC(".maps")

ARRAY_LIKE(array, BPF_MAP_TYPE_ARRAY);
ARRAY_LIKE(hash, BPF_MAP_TYPE_HASH);
ARRAY_LIKE(percpu_array, BPF_MAP_TYPE_PERCPU_ARRAY);
ARRAY_LIKE(percpu_hash, BPF_MAP_TYPE_PERCPU_HASH);
ARRAY_LIKE(lru_hash, BPF_MAP_TYPE_LRU_HASH);

struct trie_key {
	__u32 bits;
	__u32 address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct trie_key);
	__type(value, __u64);
} trie SEC(".maps");

#define QUEUE_LIKE(name_, type_) \
	struct { \
		__uint(type, type_); \
		__uint(max_entries, 4); \
		__type(value, __u64); \
	} name_ SEC(".maps")

QUEUE_LIKE(queue, BPF_MAP_TYPE_QUEUE);
QUEUE_LIKE(stack, BPF_MAP_TYPE_STACK);
QUEUE_LIKE(bloom, BPF_MAP_TYPE_BLOOM_FILTER);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} first SEC(".maps"), second SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} array_of_maps SEC(".maps") = { .values = { [0] = &first, [1] = &second } };

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} hash_of_maps SEC(".maps") = { .values = { [1] = &second } };

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} programs SEC(".maps");

/* One bit for each type of map that has worked. */
__u64 worked;
__u64 tail_calls;

#define USE(map_, bit) \
	do { \
		__u64 *found_ = bpf_map_lookup_elem(&map_, &key); \
		if (found_ && ++*found_) \
			worked |= 1 << bit; \
	} while (0)

SEC("tc")
int use_all(struct __sk_buff *skb)
{
	__u32 key = 1;
	__u64 value = 7, got = 0, *found;
	struct trie_key prefix = { .bits = 8, .address = 10 };
	struct trie_key address = { .bits = 32, .address = 10 | 1 << 24 };
	void *inside;

	bpf_map_update_elem(&hash, &key, &value, 0);
	bpf_map_update_elem(&percpu_hash, &key, &value, 0);
	bpf_map_update_elem(&lru_hash, &key, &value, 0);
	USE(array, 0);
	USE(hash, 1);
	USE(percpu_array, 2);
	USE(percpu_hash, 3);
	USE(lru_hash, 4);
	bpf_map_update_elem(&trie, &prefix, &value, 0);
	if (bpf_map_lookup_elem(&trie, &address))
		worked |= 1 << 5;
	if (!bpf_map_push_elem(&queue, &value, 0) && !bpf_map_pop_elem(&queue, &got) && got == 7)
		worked |= 1 << 6;
	if (!bpf_map_push_elem(&stack, &value, 0) && !bpf_map_pop_elem(&stack, &got) && got == 7)
		worked |= 1 << 7;
	if (!bpf_map_push_elem(&bloom, &value, 0) && !bpf_map_peek_elem(&bloom, &value))
		worked |= 1 << 8;
	if (!bpf_ringbuf_output(&ring, &value, sizeof(value), 0))
		worked |= 1 << 9;
	inside = bpf_map_lookup_elem(&array_of_maps, &key);
	if (inside) {
		found = bpf_map_lookup_elem(inside, &key);
		if (found && ++*found)
			worked |= 1 << 10;
	}
	inside = bpf_map_lookup_elem(&hash_of_maps, &key);
	if (inside) {
		found = bpf_map_lookup_elem(inside, &key);
		if (found && *found)
			worked |= 1 << 11;
	}
	/* Filled by who loads this. */
	bpf_tail_call(skb, &programs, 0);
	return 0;
}

SEC("tc")
int called(struct __sk_buff *skb)
{
	tail_calls++;
	worked |= 1 << 12;
	return 0;
}
