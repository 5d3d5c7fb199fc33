// SPDX-License-Identifier: MIT OR Apache-2.0
/* Cgroups: packets, sockets, connections, a table of cgroups. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

__u64 out_packets, in_packets, sockets, connects, refused, member;

struct bpf_sock_addr {
	__u32 user_family;
	__u32 user_ip4;
	__u32 user_ip6[4];
	__u32 user_port;
};

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} groups SEC(".maps");

SEC("cgroup_skb/egress")
int out(struct __sk_buff *skb)
{
	__sync_fetch_and_add(&out_packets, 1);
	return 1;
}

SEC("cgroup_skb/ingress")
int in(struct __sk_buff *skb)
{
	__sync_fetch_and_add(&in_packets, 1);
	return 1;
}

SEC("cgroup/sock_create")
int create(void *ctx)
{
	__sync_fetch_and_add(&sockets, 1);
	return 1;
}

SEC("cgroup/connect4")
int connect(struct bpf_sock_addr *ctx)
{
	__sync_fetch_and_add(&connects, 1);
	/* Port 9, in network byte order, is refused. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	if (ctx->user_port == 0x0900) {
#else
	if (ctx->user_port == 9) {
#endif
		__sync_fetch_and_add(&refused, 1);
		return 0;
	}
	return 1;
}

SEC("raw_tp/sys_enter")
int membership(__u64 *ctx)
{
	if (bpf_current_task_under_cgroup(&groups, 0) == 1)
		__sync_fetch_and_add(&member, 1);
	return 0;
}
