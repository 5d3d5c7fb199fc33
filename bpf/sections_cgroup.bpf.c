// SPDX-License-Identifier: MIT OR Apache-2.0
/* Every name of a section of its kind: cgroup. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

#define PROGRAM(name, section) \
	SEC(section) \
	int name(void *ctx) \
	{ \
		return 0; \
	}

PROGRAM(p_cgroup_skb_ingress, "cgroup_skb/ingress")
PROGRAM(p_cgroup_skb_egress, "cgroup_skb/egress")
PROGRAM(p_cgroup_skb, "cgroup/skb")
PROGRAM(p_cgroup_sock_create, "cgroup/sock_create")
PROGRAM(p_cgroup_sock_release, "cgroup/sock_release")
PROGRAM(p_cgroup_sock, "cgroup/sock")
PROGRAM(p_cgroup_post_bind4, "cgroup/post_bind4")
PROGRAM(p_cgroup_post_bind6, "cgroup/post_bind6")
PROGRAM(p_cgroup_bind4, "cgroup/bind4")
PROGRAM(p_cgroup_bind6, "cgroup/bind6")
PROGRAM(p_cgroup_connect4, "cgroup/connect4")
PROGRAM(p_cgroup_connect6, "cgroup/connect6")
PROGRAM(p_cgroup_connect_unix, "cgroup/connect_unix")
PROGRAM(p_cgroup_sendmsg4, "cgroup/sendmsg4")
PROGRAM(p_cgroup_sendmsg6, "cgroup/sendmsg6")
PROGRAM(p_cgroup_sendmsg_unix, "cgroup/sendmsg_unix")
PROGRAM(p_cgroup_recvmsg4, "cgroup/recvmsg4")
PROGRAM(p_cgroup_recvmsg6, "cgroup/recvmsg6")
PROGRAM(p_cgroup_recvmsg_unix, "cgroup/recvmsg_unix")
PROGRAM(p_cgroup_getpeername4, "cgroup/getpeername4")
PROGRAM(p_cgroup_getpeername6, "cgroup/getpeername6")
PROGRAM(p_cgroup_getpeername_unix, "cgroup/getpeername_unix")
PROGRAM(p_cgroup_getsockname4, "cgroup/getsockname4")
PROGRAM(p_cgroup_getsockname6, "cgroup/getsockname6")
PROGRAM(p_cgroup_getsockname_unix, "cgroup/getsockname_unix")
PROGRAM(p_cgroup_sysctl, "cgroup/sysctl")
PROGRAM(p_cgroup_getsockopt, "cgroup/getsockopt")
PROGRAM(p_cgroup_setsockopt, "cgroup/setsockopt")
PROGRAM(p_cgroup_dev, "cgroup/dev")
