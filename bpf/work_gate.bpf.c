// SPDX-License-Identifier: MIT OR Apache-2.0
/* A gate: while it is closed, one process and its children load no unsigned programs. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

struct bpf_prog_aux {
	struct {
		__u8 verdict;
	} sig;
} __core;

struct bpf_prog {
	struct bpf_prog_aux *aux;
} __core;

int closed_for;
__u64 passed, refused;

SEC("lsm/bpf_prog_load")
int gate(__u64 *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct bpf_prog *prog = (void *)ctx[0];
	bool by_kernel = ctx[3] & 1;
	int earlier = (int)ctx[4];

	if (earlier)
		return earlier;
	if (!closed_for ||
	    (task->tgid != closed_for && task->real_parent->tgid != closed_for))
		return 0;
	/* What a verified loader installs comes from inside of the kernel. */
	if (prog->aux->sig.verdict || by_kernel) {
		passed++;
		return 0;
	}
	refused++;
	return -1;
}
