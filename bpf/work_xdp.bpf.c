// SPDX-License-Identifier: MIT OR Apache-2.0
/* XDP: counts packets by protocol and drops those that are marked. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

#define XDP_DROP 1
#define XDP_PASS 2

__u64 passed, dropped;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u64);
} by_protocol SEC(".maps");

SEC("xdp")
int filter(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data;
	__u8 *end = (void *)(long)ctx->data_end;
	__u32 protocol;
	__u64 *count;

	/* Ethernet, IPv4 without options, UDP: up to the first byte of its data. */
	if (data + 43 > end)
		return XDP_PASS;
	protocol = data[23];
	count = bpf_map_lookup_elem(&by_protocol, &protocol);
	if (count)
		(*count)++;
	if (protocol == 17 && data[42] == 'X') {
		__sync_fetch_and_add(&dropped, 1);
		return XDP_DROP;
	}
	__sync_fetch_and_add(&passed, 1);
	return XDP_PASS;
}
