// SPDX-License-Identifier: MIT OR Apache-2.0
/* Kernel symbols: variables with type, symbols without, functions; strong and weak. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

struct rq {
	int cpu;
};

extern const struct rq runqueues __ksym;
extern const int bpf_prog_active __ksym __weak;
extern const int surely_not_a_variable __ksym __weak;
extern const void init_task __ksym __weak;
extern const void surely_not_a_symbol __ksym __weak;

extern struct task_struct *bpf_task_from_pid(int pid) __ksym;
extern void bpf_task_release(struct task_struct *task) __ksym;
extern void bpf_rcu_read_lock(void) __ksym __weak;
extern void bpf_rcu_read_unlock(void) __ksym __weak;
extern int surely_not_a_function(int a) __ksym __weak;

__u64 sum;

static __noinline void with_task(int pid)
{
	struct task_struct *task = bpf_task_from_pid(pid);

	if (task)
		bpf_task_release(task);
}

SEC("tp_btf/sys_enter")
int variables(__u64 *ctx)
{
	const int *active = bpf_per_cpu_ptr(&bpf_prog_active, 0);
	const struct rq *rq = bpf_per_cpu_ptr(&runqueues, 0);

	if (rq)
		sum += rq->cpu;
	if (active)
		sum += *active;
	if (&surely_not_a_variable)
		sum += surely_not_a_variable;
	sum += (__u64)&init_task + (__u64)&surely_not_a_symbol;
	return 0;
}

SEC("tp_btf/sys_exit")
int functions(__u64 *ctx)
{
	with_task(1);
	if (bpf_rcu_read_lock && bpf_rcu_read_unlock) {
		bpf_rcu_read_lock();
		bpf_rcu_read_unlock();
	}
	if (surely_not_a_function)
		sum += surely_not_a_function(1);
	return 0;
}

SEC("?fentry/bpf_fentry_test1")
int more_functions(__u64 *ctx)
{
	with_task(2);
	return 0;
}
