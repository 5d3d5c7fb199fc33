/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Types that types.bpf.c shares with the program that loads it. */
#ifndef TYPES_H
#define TYPES_H

struct shared_pair {
	__u32 left;
	__u64 right;
};

typedef __u32 shared_alias;

#endif
