// SPDX-License-Identifier: MIT OR Apache-2.0
/* Compiled without -g: no BTF at all, two functions. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

static __noinline int twice(int a)
{
	return a * 2 + (int)bpf_ktime_get_ns();
}

SEC("socket")
int plain(struct __sk_buff *skb)
{
	return twice(skb->len);
}
