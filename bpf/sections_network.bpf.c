// SPDX-License-Identifier: MIT OR Apache-2.0
/* Every name of a section of its kind: network. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

#define PROGRAM(name, section) \
	SEC(section) \
	int name(void *ctx) \
	{ \
		return 0; \
	}

PROGRAM(p_socket, "socket")
PROGRAM(p_sk_reuseport_migrate, "sk_reuseport/migrate")
PROGRAM(p_sk_reuseport, "sk_reuseport")
PROGRAM(p_tc_ingress, "tc/ingress")
PROGRAM(p_tc_egress, "tc/egress")
PROGRAM(p_tcx_ingress, "tcx/ingress")
PROGRAM(p_tcx_egress, "tcx/egress")
PROGRAM(p_tc, "tc")
PROGRAM(p_classifier, "classifier")
PROGRAM(p_action, "action")
PROGRAM(p_netkit_primary, "netkit/primary")
PROGRAM(p_netkit_peer, "netkit/peer")
PROGRAM(p_xdp_frags_devmap, "xdp.frags/devmap")
PROGRAM(p_xdp_devmap, "xdp/devmap")
PROGRAM(p_xdp_frags_cpumap, "xdp.frags/cpumap")
PROGRAM(p_xdp_cpumap, "xdp/cpumap")
PROGRAM(p_xdp_frags, "xdp.frags")
PROGRAM(p_xdp, "xdp")
PROGRAM(p_lwt_in, "lwt_in")
PROGRAM(p_lwt_out, "lwt_out")
PROGRAM(p_lwt_xmit, "lwt_xmit")
PROGRAM(p_lwt_seg6local, "lwt_seg6local")
PROGRAM(p_sockops, "sockops")
PROGRAM(p_sk_skb_stream_parser, "sk_skb/stream_parser")
PROGRAM(p_sk_skb_stream_verdict, "sk_skb/stream_verdict")
PROGRAM(p_sk_skb_verdict, "sk_skb/verdict")
PROGRAM(p_sk_skb, "sk_skb")
PROGRAM(p_sk_msg, "sk_msg")
PROGRAM(p_lirc_mode2, "lirc_mode2")
PROGRAM(p_flow_dissector, "flow_dissector")
PROGRAM(p_sk_lookup, "sk_lookup")
PROGRAM(p_netfilter, "netfilter")
