/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Types that globals.bpf.c shares with the program that loads it. */
#ifndef GLOBALS_H
#define GLOBALS_H

struct shared_point {
	int x, y;
};

union shared_value {
	__u64 wide;
	__u32 halves[2];
};

enum shared_state {
	STATE_IDLE,
	STATE_BUSY,
};

#endif
