// SPDX-License-Identifier: MIT OR Apache-2.0
/* Global data with a copy for each CPU. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

__u64 hits SEC(".percpu") = 3;
int table[5] SEC(".percpu") = { 1, 2, 3, 4, 5 };
static int private_one SEC(".percpu") = 9;
__u32 shared = 1;

SEC("xdp")
int count(struct xdp_md *ctx)
{
	hits++;
	private_one += table[ctx->data & 3];
	return shared + private_one;
}
