// SPDX-License-Identifier: MIT OR Apache-2.0
/* Maps and data, but no program and no license. */
#include "bpfseal.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} alone SEC(".maps");

int data = 1;
