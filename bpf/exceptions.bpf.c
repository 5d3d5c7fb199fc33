// SPDX-License-Identifier: MIT OR Apache-2.0
/* Programs that throw, with a callback and without. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

extern void bpf_throw(__u64 cookie) __ksym;

__noinline int on_exception(__u64 cookie)
{
	return (int)cookie + 1;
}

static __noinline void check(__u32 len)
{
	if (len > 1500)
		bpf_throw(len);
}

SEC("tc")
__tag("exception_callback:on_exception")
int with_callback(struct __sk_buff *skb)
{
	check(skb->len);
	return 0;
}

SEC("tc")
int without(struct __sk_buff *skb)
{
	check(skb->mark);
	return 1;
}
