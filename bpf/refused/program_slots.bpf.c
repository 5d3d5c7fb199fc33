// SPDX-License-Identifier: MIT OR Apache-2.0
/* Refused: program arrays whose slots are filled, with programs of all kinds. */
#include "../bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

SEC("tc")
int first(void *ctx)
{
	return 1;
}

SEC("?tc")
int by_request(void *ctx)
{
	return 2;
}

SEC("tc")
int second(void *ctx)
{
	return 3;
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__array(values, int(void *));
} jumps SEC(".maps") = {
	.values = { [0] = (void *)&second, [2] = (void *)&by_request },
};

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, int(void *));
} more SEC(".maps") = {
	.values = { [1] = (void *)&first },
};

SEC("tc")
int jump(void *ctx)
{
	bpf_tail_call(ctx, &jumps, 0);
	bpf_tail_call(ctx, &more, 1);
	return 0;
}
