// SPDX-License-Identifier: MIT OR Apache-2.0
/* Maps of maps: by type and by value, filled and empty, with gaps and shared templates. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
};

struct inner one SEC(".maps");
struct inner two SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 5);
	__uint(key_size, 4);
	__array(values, struct inner);
} filled SEC(".maps") = {
	.values = { [0] = &one, [3] = &two, [4] = &one },
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 6);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_RINGBUF);
		__uint(max_entries, 4096);
	});
} empty SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__uint(max_entries, 3);
		__uint(map_flags, BPF_F_NO_PREALLOC);
		__type(key, int);
		__type(value, int);
	});
} sized SEC(".maps");

SEC("kprobe/do_nanosleep")
int use(void *ctx)
{
	__u32 slot = 3, key = 0;
	void *inner = bpf_map_lookup_elem(&filled, &slot);

	if (inner)
		bpf_map_lookup_elem(inner, &key);
	inner = bpf_map_lookup_elem(&empty, &slot);
	if (inner)
		bpf_ringbuf_output(inner, &slot, sizeof(slot), 0);
	bpf_map_lookup_elem(&sized, &key);
	return 0;
}
