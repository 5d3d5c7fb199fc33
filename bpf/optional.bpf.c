// SPDX-License-Identifier: MIT OR Apache-2.0
/* Programs that are not loaded by default, between such that are. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

int runs;

SEC("?raw_tp/sys_enter")
int not_first(void *ctx)
{
	runs += 1;
	return 0;
}

SEC("raw_tp/sys_exit")
int loaded_one(void *ctx)
{
	runs += 2;
	return 0;
}

SEC("?kprobe/do_exit")
int not_second(void *ctx)
{
	return 0;
}

SEC("lsm/file_open")
int loaded_two(void *ctx)
{
	return 0;
}

SEC("raw_tp/sched_switch")
int loaded_three(void *ctx)
{
	runs += 3;
	return 0;
}
