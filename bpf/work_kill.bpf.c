// SPDX-License-Identifier: MIT OR Apache-2.0
/* Kills the children of one process at one of their system calls, for tests of what is left. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

#define SIGKILL 9

static long (*bpf_send_signal)(__u32 signal) = (void *)109;

/* Whose children; at which of their calls, counted from 1. */
int parent_tgid;
__u64 kill_at;
__u64 steps, kills;

/* Calls that make or change something: bpf, mkdir, mkdirat, rename, renameat, renameat2, unlinkat,
 * add_key. Which of the three kinds of renaming a C library takes is its own affair. */
static __always_inline bool is_step(__u64 number)
{
	return number == 321 || number == 83 || number == 258 || number == 82 || number == 264 ||
	       number == 316 || number == 263 || number == 248;
}

SEC("tp_btf/sys_enter")
int count(__u64 *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if (!parent_tgid || task->real_parent->tgid != parent_tgid || !is_step(ctx[1]))
		return 0;
	steps++;
	if (steps == kill_at) {
		kills++;
		bpf_send_signal(SIGKILL);
	}
	return 0;
}
