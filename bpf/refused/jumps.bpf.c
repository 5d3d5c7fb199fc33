// SPDX-License-Identifier: MIT OR Apache-2.0
/* Refused: a program array with values. */
#include "../bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

SEC("tc")
int target(void *ctx)
{
	return 1;
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, int(void *));
} filled SEC(".maps") = {
	.values = { [1] = (void *)&target },
};
