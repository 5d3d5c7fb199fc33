// SPDX-License-Identifier: MIT OR Apache-2.0
/* Refused: a program that is attached by BTF, without a target. */
#include "../bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

SEC("fentry")
int lonely(__u64 *ctx)
{
	return 0;
}
