// SPDX-License-Identifier: MIT OR Apache-2.0
/* A security module: refuses to make folders of one name, with CO-RE relocations. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

struct qstr {
	const unsigned char *name;
} __core;

struct dentry {
	struct qstr d_name;
} __core;

__u64 asked, refused;

SEC("lsm/inode_mkdir")
int mkdir_rule(__u64 *ctx)
{
	struct dentry *dentry = (void *)ctx[1];
	const char forbidden[] = "forbidden";
	char name[sizeof(forbidden)] = {};
	int earlier = (int)ctx[3];

	if (earlier)
		return earlier;
	asked++;
	bpf_probe_read_kernel(name, sizeof(name), dentry->d_name.name);
	for (unsigned int i = 0; i < sizeof(forbidden); i++)
		if (name[i] != forbidden[i])
			return 0;
	refused++;
	return -1;
}
