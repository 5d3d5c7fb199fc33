// SPDX-License-Identifier: MIT OR Apache-2.0
/* Refused: jump tables, written by hand as compilers since clang 22 write them. */
#include "../bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

/* Offsets of instructions in the section of the function, bytes. */
const __u64 table[] SEC(".jumptables") = { 0, 16, 24 };
const __u64 of_subprogram[] SEC(".jumptables") = { 8, 0 };

static __noinline __u64 subprogram(void)
{
	const void *at;

	asm volatile("%0 = of_subprogram ll" : "=r"(at));
	return *(const __u64 *)at;
}

SEC("tc")
int use(void *ctx)
{
	const void *at, *again;

	asm volatile("%0 = table ll" : "=r"(at));
	asm volatile("%0 = table ll" : "=r"(again));
	return *(const __u64 *)at + *(const __u64 *)again + subprogram();
}
