// SPDX-License-Identifier: MIT OR Apache-2.0
/* Refused: a program that replaces another. */
#include "../bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

SEC("freplace/handle")
int replace(void *ctx)
{
	return 0;
}
