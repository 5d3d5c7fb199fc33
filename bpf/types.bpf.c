// SPDX-License-Identifier: MIT OR Apache-2.0
/* Variables of every kind of C type, for the declarations in a skeleton. */
#include "bpfseal.h"
#include "types.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	int a;
	struct {
		char b;
		__u64 c;
	};
	union {
		__u32 d;
		__u8 e[4];
	} u;
} nested = { .a = 1 };

struct {
	__u32 low : 3;
	__u32 mid : 7;
	__u32 : 6;
	__u32 high : 16;
	__u64 wide : 40;
	__u8 tail;
} bits = { .low = 1 };

struct {
	__u8 a;
	__u32 b;
	__u16 c;
} __attribute__((packed)) packed = { .b = 2 };

struct {
	__u8 a;
	__u64 b __attribute__((aligned(32)));
} spaced = { .a = 3 };

enum { RED, GREEN = 5, BLUE = -1 } colour = GREEN;
enum { HUGE = 0x1234567890ULL } huge = HUGE;
enum { TINY = 1 } __attribute__((mode(byte))) tiny = TINY;

int matrix[2][3] = { { 1, 2, 3 }, { 4, 5, 6 } };
int *pointer = (int *)1;
const char *text_pointer = (const char *)1;
void *const_pointer_array[4] = { (void *)1 };
int (*function)(int, const char *, ...) = (void *)1;
int (*functions[2])(void) = { (void *)1 };
int (*pointer_to_array)[5] = (void *)1;
struct only_named *incomplete = (void *)1;
const volatile struct shared_pair pair = { 1, 2 };
shared_alias aliased = 4;
__u64 volatile counter = 5;
bool flag = true;
char letter = 'x';
unsigned long ulong_value = 6;
long long_value = -6;

SEC("tc")
int look(struct __sk_buff *skb)
{
	__u64 sum = nested.a + nested.c + nested.u.d + bits.low + bits.wide + packed.b + spaced.b;

	sum += colour + huge + tiny + matrix[1][skb->mark & 1] + (__u64)pointer;
	sum += (__u64)text_pointer + (__u64)const_pointer_array[1] + (__u64)function;
	sum += (__u64)functions[0] + (__u64)pointer_to_array + (__u64)incomplete;
	sum += pair.left + aliased + counter + flag + letter + ulong_value + long_value;
	return (int)sum;
}
