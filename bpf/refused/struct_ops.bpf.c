// SPDX-License-Identifier: MIT OR Apache-2.0
/* Refused: a struct_ops map. */
#include "../bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

struct tcp_congestion_ops {
	char name[16];
	void (*release)(void *sk);
};

SEC("struct_ops/release")
int release(__u64 *ctx)
{
	return 0;
}

SEC(".struct_ops")
struct tcp_congestion_ops ops = { .name = "none", .release = (void *)release };
