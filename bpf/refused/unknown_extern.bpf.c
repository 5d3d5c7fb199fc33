// SPDX-License-Identifier: MIT OR Apache-2.0
/* Refused: a kernel configuration value that is not there. */
#include "../bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

extern int CONFIG_SURELY_NOT_THERE __kconfig;

SEC("tc")
int use(void *ctx)
{
	return CONFIG_SURELY_NOT_THERE;
}
