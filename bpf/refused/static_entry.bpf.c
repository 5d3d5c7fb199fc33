// SPDX-License-Identifier: MIT OR Apache-2.0
/* Refused: a program that is a static function. */
#include "../bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

SEC("tc")
static int local(void *ctx)
{
	return 4;
}

SEC("tc")
int global(void *ctx)
{
	return 5;
}
