// SPDX-License-Identifier: MIT OR Apache-2.0
/* Refused: maps of the old kind. */
#include "../bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__u32 type, key_size, value_size, max_entries, map_flags;
} old SEC("maps") = { 2, 4, 4, 1 };

SEC("tc")
int use(void *ctx)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&old, &key) != NULL;
}
