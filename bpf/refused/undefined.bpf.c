// SPDX-License-Identifier: MIT OR Apache-2.0
/* Refused: a function that is nowhere. */
#include "../bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

extern int nowhere(int a);

SEC("tc")
int use(void *ctx)
{
	return nowhere(1);
}
