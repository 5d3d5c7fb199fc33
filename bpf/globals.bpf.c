// SPDX-License-Identifier: MIT OR Apache-2.0
/* Global data of every section, with gaps, custom names, statics and constants. */
#include "bpfseal.h"
#include "globals.h"

char LICENSE[] SEC("license") = "GPL";
int VERSION SEC("version") = 1;

const volatile __u32 limit = 7;
const volatile char name[13] = "bpfseal";
const volatile bool verbose = true;
static volatile const __u64 hidden_constant = 0x1122334455667788ULL;

__u8 first = 1;
__u64 second = 2;
__u16 third[3] = { 3, 4, 5 };
struct shared_point point = { .x = -1, .y = 1 };
union shared_value value = { .wide = ~0ULL };
enum shared_state state = STATE_BUSY;
static __u64 static_data = 99;
__weak int weak_data = 5;
__hidden int hidden_data = 6;

__u64 zeroed;
__u8 small_zero;
char big_zero[1000];
static int static_zero;

__u32 custom SEC(".data.custom") = 11;
__u64 custom_two SEC(".data.custom") = 12;
const volatile __u32 custom_ro SEC(".rodata.more") = 13;
__u64 custom_zero SEC(".bss.custom");
__u64 aligned_one SEC(".data.aligned") __attribute__((aligned(64))) = 1;
__u8 aligned_two SEC(".data.aligned") = 2;

SEC("socket")
int use_all(struct __sk_buff *skb)
{
	static int calls_here;
	const char fmt[] = "sum %llu";
	__u64 sum = limit + verbose + hidden_constant + first + second + third[skb->mark & 1];

	sum += point.x + value.wide + state + static_data + weak_data + hidden_data;
	sum += zeroed + small_zero + big_zero[skb->len & 511] + static_zero;
	sum += custom + custom_two + custom_ro + custom_zero + aligned_one + aligned_two;
	sum += name[skb->mark & 7];
	static_zero++;
	static_data += sum;
	calls_here++;
	bpf_trace_printk(fmt, sizeof(fmt), sum + calls_here);
	return (int)sum;
}
