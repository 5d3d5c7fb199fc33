// SPDX-License-Identifier: MIT OR Apache-2.0
/* Every name of a section of its kind: tracing. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

PROGRAM(p_tracepoint_syscalls_sys_enter_read, "tracepoint/syscalls/sys_enter_read")
PROGRAM(p_tp_sched_sched_switch, "tp/sched/sched_switch")
PROGRAM(p_tracepoint_s_syscalls_sys_enter_read, "tracepoint.s/syscalls/sys_enter_read")
PROGRAM(p_tp_s_sched_sched_switch, "tp.s/sched/sched_switch")
PROGRAM(p_raw_tracepoint_sys_enter, "raw_tracepoint/sys_enter")
PROGRAM(p_raw_tp_sys_exit, "raw_tp/sys_exit")
PROGRAM(p_raw_tracepoint_s_sys_enter, "raw_tracepoint.s/sys_enter")
PROGRAM(p_raw_tp_s_sys_exit, "raw_tp.s/sys_exit")
PROGRAM(p_raw_tracepoint_w_sys_enter, "raw_tracepoint.w/sys_enter")
PROGRAM(p_raw_tp_w_sys_exit, "raw_tp.w/sys_exit")
PROGRAM(p_tp_btf_sched_switch, "tp_btf/sched_switch")
PROGRAM(p_tp_btf_s_sched_switch, "tp_btf.s/sched_switch")
PROGRAM(p_fentry_bpf_fentry_test1, "fentry/bpf_fentry_test1")
PROGRAM(p_fmod_ret_bpf_modify_return_test, "fmod_ret/bpf_modify_return_test")
PROGRAM(p_fexit_bpf_fentry_test2, "fexit/bpf_fentry_test2")
PROGRAM(p_fentry_s_bpf_fentry_test1, "fentry.s/bpf_fentry_test1")
PROGRAM(p_fmod_ret_s_bpf_modify_return_test, "fmod_ret.s/bpf_modify_return_test")
PROGRAM(p_fexit_s_bpf_fentry_test2, "fexit.s/bpf_fentry_test2")
PROGRAM(p_fsession_bpf_fentry_test3, "fsession/bpf_fentry_test3")
PROGRAM(p_fsession_s_bpf_fentry_test3, "fsession.s/bpf_fentry_test3")
PROGRAM(p_lsm_file_open, "lsm/file_open")
PROGRAM(p_lsm_s_file_open, "lsm.s/file_open")
PROGRAM(p_lsm_cgroup_socket_post_create, "lsm_cgroup/socket_post_create")
PROGRAM(p_iter_task, "iter/task")
PROGRAM(p_iter_s_task, "iter.s/task")
PROGRAM(p_syscall, "syscall")
PROGRAM(p_perf_event, "perf_event")
