// SPDX-License-Identifier: MIT OR Apache-2.0
/* Functions of every linkage, called from several sections, and passed as callbacks. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

struct element {
	struct bpf_timer timer;
	__u64 count;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct element);
} elements SEC(".maps");

__u64 calls;

static __noinline int leaf(int a)
{
	calls += a;
	return a * 3 + (int)calls;
}

static __noinline int middle(int a)
{
	return leaf(a + 1) + leaf(a + 2);
}

__noinline int global_one(int a)
{
	return middle(a) - 1;
}

__hidden __noinline int hidden_one(int a)
{
	return leaf(a) ^ 5;
}

__weak __noinline int weak_one(int a)
{
	return global_one(a) + 7;
}

static int each(void *map, __u32 *key, struct element *value, void *ctx)
{
	value->count += leaf(1);
	return 0;
}

static int expired(void *map, __u32 *key, struct element *value)
{
	value->count++;
	bpf_timer_start(&value->timer, 1000000, 0);
	return 0;
}

static long turn(__u32 index, void *ctx)
{
	calls += index;
	return 0;
}

SEC("tc")
int first(struct __sk_buff *skb)
{
	return weak_one(skb->len) + hidden_one(skb->mark);
}

SEC("tc")
int second(struct __sk_buff *skb)
{
	__u32 key = 0;
	struct element *element = bpf_map_lookup_elem(&elements, &key);

	bpf_for_each_map_elem(&elements, each, NULL, 0);
	if (element) {
		bpf_timer_init(&element->timer, &elements, 0);
		bpf_timer_set_callback(&element->timer, expired);
		bpf_timer_start(&element->timer, 1000, 0);
	}
	bpf_loop(4, turn, NULL, 0);
	return leaf(skb->len);
}

SEC("xdp")
int third(struct xdp_md *ctx)
{
	return global_one(ctx->data_end - ctx->data) & 3;
}

SEC("cgroup_skb/egress")
int alone(struct __sk_buff *skb)
{
	return 1;
}
