/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Loads what the reference made, with the reference's own code: bpf_load_and_run() of libbpf's
 * skel_internal.h. For comparisons inside of a virtual machine.
 *
 *     reference-loader FILE [TIMES]
 *
 * FILE holds, as 32-bit words of this machine, the counts of maps and programs and the sizes of
 * metadata, instructions and signature; then the 32 bytes that the metadata map is bound to, and
 * the three. Prints 0 or the errno; with TIMES, nanoseconds of one load, as the best of TIMES.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <bpf/skel_internal.h>

#define SESSION_KEYRING -3

enum { MAPS, PROGRAMS, DATA, INSNS, SIGNATURE, WORDS };

static unsigned char *take(FILE *file, size_t size)
{
	unsigned char *bytes = malloc(size + 1);

	if (!bytes || fread(bytes, 1, size, file) != size)
		exit(2);
	return bytes;
}

static int load_once(struct bpf_load_and_run_opts *opts, const __u32 *words)
{
	size_t size = sizeof(struct bpf_loader_ctx) + 16 * words[MAPS] + 4 * words[PROGRAMS];
	char *ctx = calloc(1, size);
	int err;

	if (!ctx)
		exit(2);
	opts->ctx = (struct bpf_loader_ctx *)ctx;
	opts->ctx->sz = size;
	err = bpf_load_and_run(opts);
	if (err >= 0) {
		char *at = ctx + sizeof(struct bpf_loader_ctx);

		for (__u32 i = 0; i < words[MAPS]; i++, at += 16)
			skel_closenz(*(int *)at);
		for (__u32 i = 0; i < words[PROGRAMS]; i++, at += 4)
			skel_closenz(*(int *)at);
	}
	free(ctx);
	return err < 0 ? err : 0;
}

static long long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int argc, char **argv)
{
	struct bpf_load_and_run_opts opts = {};
	__u32 words[WORDS];
	long long best = 0;
	int times, err = 0;
	FILE *file;

	if (argc < 2)
		return 2;
	file = fopen(argv[1], "rb");
	if (!file || fread(words, sizeof(words), 1, file) != 1)
		return 2;
	opts.excl_prog_hash = take(file, 32);
	opts.excl_prog_hash_sz = 32;
	opts.data = take(file, words[DATA]);
	opts.data_sz = words[DATA];
	opts.insns = take(file, words[INSNS]);
	opts.insns_sz = words[INSNS];
	if (words[SIGNATURE]) {
		opts.signature = take(file, words[SIGNATURE]);
		opts.signature_sz = words[SIGNATURE];
		opts.keyring_id = SESSION_KEYRING;
	}
	times = argc > 2 ? atoi(argv[2]) : 0;
	if (!times) {
		printf("%d\n", -load_once(&opts, words));
		return 0;
	}
	for (int i = 0; i < times && !err; i++) {
		long long start = now(), took;

		err = load_once(&opts, words);
		took = now() - start;
		if (!best || took < best)
			best = took;
	}
	printf("%lld\n", err ? -1 : best);
	return 0;
}
