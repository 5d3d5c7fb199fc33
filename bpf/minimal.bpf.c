// SPDX-License-Identifier: MIT OR Apache-2.0
/* The smallest object: one program, no map. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

SEC("socket")
int minimal(struct __sk_buff *skb)
{
	return 0;
}
