// SPDX-License-Identifier: MIT OR Apache-2.0
/* Refused: an arena with variables. */
#include "../bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

#if __clang_major__ < 18
#error "address spaces need clang 18"
#endif

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4);
} arena SEC(".maps");

int __attribute__((address_space(1))) in_arena = 7;

SEC("syscall")
int use(void *ctx)
{
	in_arena++;
	return bpf_map_lookup_elem(&arena, ctx) != NULL;
}
