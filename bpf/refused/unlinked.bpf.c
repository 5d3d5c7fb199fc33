// SPDX-License-Identifier: MIT OR Apache-2.0
/* Refused: half of a program: a function, a variable and a map are in another object. */
#include "../bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

extern int helper_elsewhere(int a);
extern int variable_elsewhere;

struct map_type {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
};

extern struct map_type map_elsewhere SEC(".maps");
struct map_type map_here SEC(".maps");

SEC("tc")
int use(void *ctx)
{
	if (bpf_map_lookup_elem(&map_elsewhere, ctx) == bpf_map_lookup_elem(&map_here, ctx))
		return variable_elsewhere;
	return helper_elsewhere(1);
}
