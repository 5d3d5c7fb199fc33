// SPDX-License-Identifier: MIT OR Apache-2.0
/* Values of the kernel configuration, of every type, there and not there. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

enum libbpf_tristate {
	TRI_NO = 0,
	TRI_YES = 1,
	TRI_MODULE = 2,
};

extern int LINUX_KERNEL_VERSION __kconfig;
extern bool CONFIG_BPF_SYSCALL __kconfig;
extern enum libbpf_tristate CONFIG_NET __kconfig;
extern char CONFIG_MODULES __kconfig __weak;
extern unsigned long CONFIG_HZ __kconfig;
extern short CONFIG_NR_CPUS __kconfig __weak;
extern char CONFIG_DEFAULT_HOSTNAME[9] __kconfig __weak;
extern char CONFIG_CC_VERSION_TEXT[40] __kconfig __weak;
extern int CONFIG_SURELY_NOT_THERE __kconfig __weak;
extern bool LINUX_HAS_BPF_COOKIE __kconfig;
extern bool LINUX_HAS_SYSCALL_WRAPPER __kconfig __weak;

SEC("raw_tracepoint/sys_exit")
int use(void *ctx)
{
	__u64 sum = LINUX_KERNEL_VERSION + CONFIG_BPF_SYSCALL + CONFIG_NET + CONFIG_HZ;

	sum += CONFIG_MODULES + CONFIG_NR_CPUS + CONFIG_SURELY_NOT_THERE + LINUX_HAS_BPF_COOKIE;
	sum += LINUX_HAS_SYSCALL_WRAPPER + CONFIG_DEFAULT_HOSTNAME[1] + CONFIG_CC_VERSION_TEXT[2];
	return (int)sum;
}
