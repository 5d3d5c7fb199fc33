// SPDX-License-Identifier: MIT OR Apache-2.0
/* Refused: a program whose section tells no type. */
#include "../bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

SEC("my_own_name/here")
int odd(void *ctx)
{
	return 0;
}
