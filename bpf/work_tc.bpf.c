// SPDX-License-Identifier: MIT OR Apache-2.0
/* Traffic control, both ways, and netfilter. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

__u64 ingress_packets, egress_packets, egress_bytes, hooked;

SEC("tcx/ingress")
int ingress(struct __sk_buff *skb)
{
	__sync_fetch_and_add(&ingress_packets, 1);
	return -1;
}

SEC("tcx/egress")
int egress(struct __sk_buff *skb)
{
	__sync_fetch_and_add(&egress_packets, 1);
	__sync_fetch_and_add(&egress_bytes, skb->len);
	return -1;
}

SEC("netfilter")
int hook(void *ctx)
{
	__sync_fetch_and_add(&hooked, 1);
	return 1;
}
