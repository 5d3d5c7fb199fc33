// SPDX-License-Identifier: MIT OR Apache-2.0
/* A program that is run by hand, with a context, and with global data of every kind. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

struct request {
	__u32 a, b;
	__u64 sum;
};

const volatile __u32 factor = 3;
__u32 bias = 100;
__u64 runs;
__u64 history[4] SEC(".data.history") = { 1, 2, 3, 4 };

SEC("syscall")
int add(struct request *request)
{
	request->sum = (__u64)factor * (request->a + request->b) + bias;
	history[runs & 3] = request->sum;
	runs++;
	return (int)runs;
}
