// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A complete user of a signed light skeleton: trusts a certificate for this session, loads the
 * loader that it signed, attaches the program, and watches its counter move.
 *
 *	bpfseal seal one_map.bpf.o -k key.pem -i cert.pem -o one_map.lskel.h
 *	cc -o counter counter.c
 *	openssl x509 -in cert.pem -outform DER -out cert.der
 *	sudo ./counter cert.der
 */
#include <stdio.h>

#include "one_map.lskel.h"

/* Adds the certificate (DER) in a file to the session keyring. */
static int trust(const char *path)
{
	static char certificate[8192];
	FILE *file = fopen(path, "rb");
	size_t len;

	if (!file)
		return -errno;
	len = fread(certificate, 1, sizeof(certificate), file);
	fclose(file);
	if (syscall(__NR_add_key, "asymmetric", "counter", certificate, len,
		    KEY_SPEC_SESSION_KEYRING) < 0)
		return -errno;
	return 0;
}

/* The first value of a map. */
static unsigned long long first(int map_fd)
{
	unsigned long long value = 0;
	union bpf_attr attr;
	__u32 key = 0;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = map_fd;
	attr.key = (unsigned long)&key;
	attr.value = (unsigned long)&value;
	syscall(__NR_bpf, BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr));
	return value;
}

int main(int argc, char **argv)
{
	struct one_map_bpf *skel;
	unsigned long long before, after;
	int err;

	if (argc != 2) {
		fprintf(stderr, "usage: %s CERT.der\n", argv[0]);
		return 2;
	}
	err = trust(argv[1]);
	if (err) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(-err));
		return 1;
	}
	skel = one_map_bpf__open();
	if (!skel)
		return 1;
	/* Where the key is: without this it is looked for in the builtin keyring. */
	skel->keyring_id = KEY_SPEC_SESSION_KEYRING;
	err = one_map_bpf__load(skel);
	if (!err)
		err = one_map_bpf__attach(skel);
	if (err) {
		fprintf(stderr, "not loaded: %s\n", strerror(-err));
		one_map_bpf__destroy(skel);
		return 1;
	}
	before = first(skel->maps.counts.map_fd);
	usleep(20000);
	after = first(skel->maps.counts.map_fd);
	printf("system calls counted: %s\n", after > before ? "yes" : "no");
	one_map_bpf__destroy(skel);
	return after > before ? 0 : 1;
}
