// SPDX-License-Identifier: MIT OR Apache-2.0
/* Refused: a program for functions of a module. */
#include "../bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

SEC("fentry.multi/nf_tables:nft_*")
int each(__u64 *ctx)
{
	return 0;
}
