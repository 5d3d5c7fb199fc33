// SPDX-License-Identifier: MIT OR Apache-2.0
/* A socket filter: lets long packets through only. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

__u64 taken, dropped;

SEC("socket")
int filter(struct __sk_buff *skb)
{
	if (skb->len < 100) {
		__sync_fetch_and_add(&dropped, 1);
		return 0;
	}
	__sync_fetch_and_add(&taken, 1);
	return -1;
}
