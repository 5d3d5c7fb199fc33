// SPDX-License-Identifier: MIT OR Apache-2.0
/* Watches the admission of programs: what the kernel has recorded about their signatures. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

/* As far as they are looked at; the offsets are those of the running kernel (CO-RE). */
struct bpf_prog_aux {
	struct {
		__s32 keyring_serial;
		__u8 keyring_type;
		__u8 verdict;
	} sig;
} __core;

struct bpf_prog {
	/* An enum, as in the kernel: CO-RE tells it from an int. */
	enum { ANY_TYPE } type;
	struct bpf_prog_aux *aux;
} __core;

struct admission {
	__u32 type;
	__s32 verdict;
	__s32 keyring_type;
	__s32 keyring_serial;
	__u32 by_kernel;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct admission);
} admissions SEC(".maps");

/* Slot 0: the process that is watched, with all its threads; slot 1: how many admissions it has had. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} control SEC(".maps");

SEC("lsm/bpf_prog_load")
int observe(__u64 *ctx)
{
	struct bpf_prog *prog = (void *)ctx[0];
	__u32 zero = 0, one = 1, index;
	__u32 *watched = bpf_map_lookup_elem(&control, &zero);
	__u32 *count = bpf_map_lookup_elem(&control, &one);
	struct admission *admission;

	if (!watched || !count || *watched != (__u32)(bpf_get_current_pid_tgid() >> 32))
		return 0;
	index = *count;
	admission = bpf_map_lookup_elem(&admissions, &index);
	if (!admission)
		return 0;
	admission->type = prog->type;
	admission->verdict = prog->aux->sig.verdict;
	admission->keyring_type = prog->aux->sig.keyring_type;
	admission->keyring_serial = prog->aux->sig.keyring_serial;
	admission->by_kernel = ctx[3] & 1;
	*count += 1;
	return 0;
}
