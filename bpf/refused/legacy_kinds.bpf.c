// SPDX-License-Identifier: MIT OR Apache-2.0
/* Refused: maps of the old kind, with definitions of every length, beside one of the new kind. */
#include "../bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__u32 type, key_size, value_size, max_entries;
} shortest SEC("maps") = { BPF_MAP_TYPE_ARRAY, 4, 8, 2 };

struct {
	__u32 type, key_size, value_size, max_entries, map_flags;
} usual SEC("maps") = { BPF_MAP_TYPE_HASH, 4, 4, 100, BPF_F_NO_PREALLOC };

/* As aya's macros and iproute2 have it: with an id and a way to pin. */
struct {
	__u32 type, key_size, value_size, max_entries, map_flags, id, pinning;
} longer SEC("maps") = { BPF_MAP_TYPE_ARRAY, 4, 16, 3, 0, 7, 1 };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} declared SEC(".maps");

SEC("tc")
int use(void *ctx)
{
	return bpf_map_lookup_elem(&shortest, ctx) != bpf_map_lookup_elem(&longer, ctx) &&
	       bpf_map_lookup_elem(&usual, ctx) != bpf_map_lookup_elem(&declared, ctx);
}
