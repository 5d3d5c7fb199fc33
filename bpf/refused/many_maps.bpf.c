// SPDX-License-Identifier: MIT OR Apache-2.0
/* Refused: 65 maps, one more than a loader has room for. */
#include "../bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

struct small {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
};

#define ONE(name) struct small name SEC(".maps");
#define EIGHT(name)                                                                                \
	ONE(name##0)                                                                               \
	ONE(name##1)                                                                               \
	ONE(name##2)                                                                               \
	ONE(name##3)                                                                               \
	ONE(name##4)                                                                               \
	ONE(name##5)                                                                               \
	ONE(name##6)                                                                               \
	ONE(name##7)
EIGHT(a)
EIGHT(b)
EIGHT(c)
EIGHT(d)
EIGHT(e)
EIGHT(f)
EIGHT(g)
EIGHT(h)
ONE(last)

SEC("tc")
int use(void *ctx)
{
	return bpf_map_lookup_elem(&a0, ctx) != bpf_map_lookup_elem(&last, ctx);
}
