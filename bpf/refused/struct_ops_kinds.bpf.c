// SPDX-License-Identifier: MIT OR Apache-2.0
/* Refused: struct_ops maps of all kinds: registered at once, by a link, and not by default. */
#include "../bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

struct tcp_congestion_ops {
	__u32 (*ssthresh)(void *sk);
	void (*cong_avoid)(void *sk, __u32 ack, __u32 acked);
	void (*release)(void *sk);
	__u32 flags;
	__u32 one : 3, two : 7;
	char name[16];
};

/* Another declaration of the same struct: the kernel knows it without what follows `___`. */
struct tcp_congestion_ops___short {
	char name[16];
	void (*release)(void *sk);
};

SEC("struct_ops/ssthresh")
__u32 ssthresh(__u64 *ctx)
{
	return 2;
}

SEC("struct_ops.s/release")
int release(__u64 *ctx)
{
	return 0;
}

/* Loaded, because a map that is created by default uses it. */
SEC("?struct_ops")
int cong_avoid(__u64 *ctx)
{
	return 0;
}

/* Not loaded, because only a map that is not created by default uses it. */
SEC("struct_ops")
int lazy(__u64 *ctx)
{
	return 0;
}

/* A function that has no name outside of this file. */
SEC("struct_ops/init")
static int local_release(__u64 *ctx)
{
	return 1;
}

SEC(".struct_ops")
struct tcp_congestion_ops at_once = {
	.ssthresh = (void *)ssthresh,
	.release = (void *)local_release,
	.flags = 0x12345678,
	.one = 5,
	.two = 66,
	.name = "at_once",
};

SEC(".struct_ops.link")
struct tcp_congestion_ops___short linked = {
	.name = "linked",
	.release = (void *)release,
};

SEC(".struct_ops.link")
struct tcp_congestion_ops second = {
	.ssthresh = (void *)ssthresh,
	.cong_avoid = (void *)cong_avoid,
};

SEC("?.struct_ops")
struct tcp_congestion_ops by_request = { .release = (void *)lazy };
