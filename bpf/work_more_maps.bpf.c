// SPDX-License-Identifier: MIT OR Apache-2.0
/* Maps that need a task: storage, stacks, events; kernel functions; weak symbols. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

extern struct task_struct *bpf_task_acquire(struct task_struct *task) __ksym;
extern void bpf_task_release(struct task_struct *task) __ksym;
extern int surely_not_a_function(int a) __ksym __weak;
extern const int surely_not_a_variable __ksym __weak;

struct rq {
	int cpu;
} __core;

extern const struct rq runqueues __ksym;

int only_tgid;
__u64 worked, seen;
int parent_tgid;

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} storage SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 64);
	__uint(key_size, 4);
	__uint(value_size, 8 * 16);
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} perf SEC(".maps");

SEC("tp_btf/sys_enter")
int use_task(__u64 *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf(), *held;
	const struct rq *rq;
	__u64 *value;

	if (task->tgid != only_tgid)
		return 0;
	seen++;
	parent_tgid = task->real_parent->tgid;
	value = bpf_task_storage_get(&storage, task, NULL, 1);
	if (value && ++*value)
		worked |= 1;
	if (bpf_get_stackid(ctx, &stacks, 0) >= 0)
		worked |= 2;
	/* Nobody listens: the answer is -ENOENT. */
	if (bpf_perf_event_output(ctx, &perf, 0xffffffffULL, &seen, sizeof(seen)) == -2)
		worked |= 4;
	held = bpf_task_acquire(task);
	if (held) {
		worked |= 8;
		bpf_task_release(held);
	}
	rq = bpf_per_cpu_ptr(&runqueues, 0);
	if (rq && rq->cpu == 0)
		worked |= 16;
	if (!surely_not_a_function && !&surely_not_a_variable)
		worked |= 32;
	return 0;
}
