// SPDX-License-Identifier: MIT OR Apache-2.0
/* Refused: a program that replaces another, which it does not name. */
#include "../bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

SEC("freplace")
int replace(void *ctx)
{
	return 0;
}
