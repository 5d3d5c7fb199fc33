//! What a header loads with: libbpf's `skel_internal.h`, or functions of its own.
//!
//! A header of its own (`--standalone`) needs the C library and nothing else: not libbpf, not a
//! `<linux/bpf.h>` that is as new as the kernel. Its functions have names of their own, so that it
//! can stand beside libbpf's in one program.

use std::fmt;

use bpfseal_object::uapi::attach;
use bpfseal_seal::{Scheme, Seal};
use bpfseal_uapi::attr::{link_create, map_create, map_elem, prog_load, prog_run, raw_tracepoint};
use bpfseal_uapi::{BPF_F_SLEEPABLE, cmd, map, prog};

/// Names of functions and types that a header uses.
#[derive(Debug)]
pub(super) struct Runtime {
    /// What names of functions begin with.
    pub(super) function: &'static str,
    /// The function that loads and runs a loader.
    pub(super) run: &'static str,
    /// What it is given.
    pub(super) options: &'static str,
    /// The loader's context, without `struct`.
    pub(super) context: &'static str,
    /// A map in it.
    pub(super) map: &'static str,
    /// A program in it.
    pub(super) program: &'static str,
    /// `BPF_TRACE_ITER`.
    pub(super) iterator: &'static str,
}

/// libbpf's.
pub(super) const LIBBPF: Runtime = Runtime {
    function: "skel_",
    run: "bpf_load_and_run",
    options: "bpf_load_and_run_opts",
    context: "bpf_loader_ctx",
    map: "bpf_map_desc",
    program: "bpf_prog_desc",
    iterator: "BPF_TRACE_ITER",
};

/// The header's own.
pub(super) const STANDALONE: Runtime = Runtime {
    function: "bpfseal_",
    run: "bpfseal_load_and_run",
    options: "bpfseal_load_and_run_opts",
    context: "bpfseal_loader_ctx",
    map: "bpfseal_map_desc",
    program: "bpfseal_prog_desc",
    iterator: "BPFSEAL_TRACE_ITER",
};

/// The oldest libbpf (major, minor) whose `skel_internal.h` loads what is in a header. 0.8 has all
/// functions; 1.7 is the first that hands on signatures, for loaders that check their metadata
/// themselves; 1.8 binds the metadata map, without which the check at load time fails.
fn oldest(seal: Option<&Seal>) -> (u32, u32) {
    match seal.map(|seal| seal.scheme) {
        None => (0, 8),
        Some(Scheme::LoadTime) => (1, 8),
        Some(_) => (1, 7),
    }
}

impl Runtime {
    fn is_standalone(&self) -> bool {
        self.function == STANDALONE.function
    }

    /// What comes before the struct: includes, and what is not included.
    pub(super) fn include(&self, out: &mut fmt::Formatter<'_>, seal: Option<&Seal>) -> fmt::Result {
        out.write_str(STRICT)?;
        if self.is_standalone() {
            own_functions(out)?;
        } else {
            let (major, minor) = oldest(seal);
            let what = match seal {
                Some(_) => "a signed light skeleton",
                None => "a light skeleton",
            };
            write!(
                out,
                "#ifndef __KERNEL__\n#include <errno.h>\n#include <string.h>\n\
                 #include <bpf/libbpf_version.h>\n\
                 #if LIBBPF_MAJOR_VERSION * 1000 + LIBBPF_MINOR_VERSION < {}\n\
                 #error \"{what} needs the headers of libbpf {major}.{minor} or later, or to be made with --standalone\"\n\
                 #define BPFSEAL_NO_LIBBPF\n#endif\n#endif\n\n\
                 #ifndef BPFSEAL_NO_LIBBPF\n#include <bpf/skel_internal.h>\n\n",
                major * 1000 + minor,
            )?;
        }
        out.write_str(QUIET)
    }

    /// What comes after everything else.
    pub(super) fn end(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(LOUD)?;
        if self.is_standalone() {
            return Ok(());
        }
        out.write_str("\n#endif\n#undef BPFSEAL_NO_LIBBPF\n")
    }
}

/// With `-std=c99` and the like the C library hides `MAP_ANONYMOUS` and `syscall`, unless it is
/// asked before its first header.
const STRICT: &str = "\
#if defined(__STRICT_ANSI__) && !defined(_GNU_SOURCE) && !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE 1
#endif
";

/// What `-Wpedantic` has against headers of this kind: long strings, empty structs and
/// initialisers, assertions in C99.
const QUIET: &str = "\
#ifdef __GNUC__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored \"-Wpedantic\"
#pragma GCC diagnostic ignored \"-Woverlength-strings\"
#ifdef __clang__
#pragma GCC diagnostic ignored \"-Wgnu-variable-sized-type-not-at-end\"
#endif
#endif

";

const LOUD: &str = "\n#ifdef __GNUC__\n#pragma GCC diagnostic pop\n#endif\n";

/// How the functions of a header's own end.
pub(super) const OWN_END: &str = "#endif /* BPFSEAL_STANDALONE */\n";

/// Functions and types of a header that does without libbpf. Numbers of the kernel come from the
/// tables.
fn own_functions(out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let array = map::ARRAY.0;
    let syscall = prog::SYSCALL.0;
    write!(
        out,
        r#"#ifdef __KERNEL__
#error "a standalone light skeleton is for user space"
#endif
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/types.h>

#ifndef BPFSEAL_STANDALONE
#define BPFSEAL_STANDALONE 1

#define BPFSEAL_TRACE_ITER {iterator}

struct bpfseal_loader_ctx {{
	__u32 sz;
	__u32 flags;
	__u32 log_level;
	__u32 log_size;
	__u64 log_buf;
}};

struct bpfseal_map_desc {{
	int map_fd;
	__u32 max_entries;
	__u64 initial_value __attribute__((__aligned__(8)));
}};

struct bpfseal_prog_desc {{
	int prog_fd;
}};

struct bpfseal_load_and_run_opts {{
	struct bpfseal_loader_ctx *ctx;
	const void *data;
	const void *insns;
	__u32 data_sz;
	__u32 insns_sz;
	const char *errstr;
	void *signature;
	__u32 signature_sz;
	__s32 keyring_id;
	void *excl_prog_hash;
	__u32 excl_prog_hash_sz;
}};

/* Attributes of bpf(2), by their places. */
struct bpfseal_attr {{
	unsigned char bytes[{size}] __attribute__((__aligned__(8)));
}};

static inline void bpfseal_put32(struct bpfseal_attr *attr, size_t at, __u32 value)
{{
	memcpy(attr->bytes + at, &value, sizeof(value));
}}

static inline void bpfseal_put64(struct bpfseal_attr *attr, size_t at, const void *pointer)
{{
	__u64 value = (__u64)(unsigned long)pointer;

	memcpy(attr->bytes + at, &value, sizeof(value));
}}

static inline int bpfseal_bpf(int command, struct bpfseal_attr *attr, size_t size)
{{
	long answer = syscall(__NR_bpf, command, attr->bytes, size);

	return answer < 0 ? -errno : (int)answer;
}}

static inline void *bpfseal_alloc(size_t size)
{{
	return calloc(1, size);
}}

static inline void bpfseal_free(void *skel)
{{
	free(skel);
}}

static inline void bpfseal_closenz(int fd)
{{
	if (fd > 0)
		close(fd);
}}

static inline void *bpfseal_prep_map_data(const void *value, size_t mmap_size, size_t size)
{{
	void *data = mmap(NULL, mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (data == MAP_FAILED)
		return NULL;
	memcpy(data, value, size);
	return data;
}}

static inline void bpfseal_free_map_data(void *data, __u64 address, size_t mmap_size)
{{
	(void)address;
	munmap(data, mmap_size);
}}

static inline void *bpfseal_finalize_map_data(__u64 *address, size_t mmap_size, int protection, int fd)
{{
	void *data = mmap((void *)(unsigned long)*address, mmap_size, protection,
			  MAP_SHARED | MAP_FIXED, fd, 0);

	return data == MAP_FAILED ? NULL : data;
}}

static inline int bpfseal_raw_tracepoint_open(const char *name, int prog_fd)
{{
	struct bpfseal_attr attr;

	memset(&attr, 0, sizeof(attr));
	bpfseal_put64(&attr, {tp_name}, name);
	bpfseal_put32(&attr, {tp_prog}, (__u32)prog_fd);
	return bpfseal_bpf({tp_cmd}, &attr, {tp_len});
}}

static inline int bpfseal_link_create(int prog_fd, int target_fd, int attach_type)
{{
	struct bpfseal_attr attr;

	memset(&attr, 0, sizeof(attr));
	bpfseal_put32(&attr, {link_prog}, (__u32)prog_fd);
	bpfseal_put32(&attr, {link_target}, (__u32)target_fd);
	bpfseal_put32(&attr, {link_type}, (__u32)attach_type);
	return bpfseal_bpf({link_cmd}, &attr, {link_len});
}}

/* The metadata map: created, filled, frozen. The loader: loaded, run once. */
static inline int bpfseal_load_and_run(struct bpfseal_load_and_run_opts *opts)
{{
	struct bpfseal_attr attr;
	int map_fd, prog_fd = -1, key = 0, err;
	__u32 answer = 0;

	memset(&attr, 0, sizeof(attr));
	bpfseal_put32(&attr, {map_type}, {array});
	bpfseal_put32(&attr, {key_size}, sizeof(key));
	bpfseal_put32(&attr, {value_size}, opts->data_sz);
	bpfseal_put32(&attr, {max_entries}, 1);
	memcpy(attr.bytes + {map_name}, "__loader.map", 12);
	if (opts->signature) {{
		bpfseal_put64(&attr, {hash}, opts->excl_prog_hash);
		bpfseal_put32(&attr, {hash_size}, opts->excl_prog_hash_sz);
	}}
	opts->errstr = "failed to create the metadata map";
	map_fd = bpfseal_bpf({map_cmd}, &attr, {map_len});
	if (map_fd < 0)
		return map_fd;

	memset(&attr, 0, sizeof(attr));
	bpfseal_put32(&attr, {elem_fd}, (__u32)map_fd);
	bpfseal_put64(&attr, {elem_key}, &key);
	bpfseal_put64(&attr, {elem_value}, opts->data);
	opts->errstr = "failed to fill the metadata map";
	err = bpfseal_bpf({update_cmd}, &attr, {elem_len});
	if (err < 0)
		goto out;

	memset(&attr, 0, sizeof(attr));
	bpfseal_put32(&attr, {elem_fd}, (__u32)map_fd);
	opts->errstr = "failed to freeze the metadata map";
	err = bpfseal_bpf({freeze_cmd}, &attr, {freeze_len});
	if (err < 0)
		goto out;

	memset(&attr, 0, sizeof(attr));
	bpfseal_put32(&attr, {prog_type}, {syscall});
	bpfseal_put32(&attr, {insn_cnt}, opts->insns_sz / 8);
	bpfseal_put64(&attr, {insns}, opts->insns);
	bpfseal_put64(&attr, {license}, "Dual BSD/GPL");
	bpfseal_put32(&attr, {log_level}, opts->ctx->log_level);
	bpfseal_put32(&attr, {log_size}, opts->ctx->log_size);
	memcpy(attr.bytes + {log_buf}, &opts->ctx->log_buf, sizeof(opts->ctx->log_buf));
	bpfseal_put32(&attr, {prog_flags}, {sleepable});
	memcpy(attr.bytes + {prog_name}, "__loader.prog", 13);
	bpfseal_put64(&attr, {fd_array}, &map_fd);
	if (opts->signature) {{
		bpfseal_put32(&attr, {fd_array_cnt}, 1);
		bpfseal_put64(&attr, {signature}, opts->signature);
		bpfseal_put32(&attr, {signature_size}, opts->signature_sz);
		bpfseal_put32(&attr, {keyring}, (__u32)opts->keyring_id);
	}}
	opts->errstr = "failed to load the loader";
	/* Kernels before signatures do not know the end of it. */
	err = prog_fd = bpfseal_bpf({load_cmd}, &attr, opts->signature ? {load_len} : {old_load_len});
	if (err < 0)
		goto out;

	memset(&attr, 0, sizeof(attr));
	bpfseal_put32(&attr, {run_fd}, (__u32)prog_fd);
	bpfseal_put64(&attr, {run_ctx}, opts->ctx);
	bpfseal_put32(&attr, {run_ctx_size}, opts->ctx->sz);
	opts->errstr = "failed to run the loader";
	err = bpfseal_bpf({run_cmd}, &attr, {run_len});
	if (err >= 0) {{
		memcpy(&answer, attr.bytes + {run_retval}, sizeof(answer));
		err = (int)answer;
		if (err < 0)
			opts->errstr = "the loader failed";
	}}
out:
	bpfseal_closenz(prog_fd);
	bpfseal_closenz(map_fd);
	if (err >= 0)
		opts->errstr = NULL;
	return err < 0 ? err : 0;
}}

{OWN_END}
"#,
        iterator = attach::BPF_TRACE_ITER.0,
        size = prog_load::LEN.next_multiple_of(8).max(map_create::LEN),
        tp_name = raw_tracepoint::NAME.offset(),
        tp_prog = raw_tracepoint::PROG_FD.offset(),
        tp_cmd = cmd::RAW_TRACEPOINT_OPEN.0,
        tp_len = raw_tracepoint::PROG_FD.end().next_multiple_of(8),
        link_prog = link_create::PROG_FD.offset(),
        link_target = link_create::TARGET_FD.offset(),
        link_type = link_create::ATTACH_TYPE.offset(),
        link_cmd = cmd::LINK_CREATE.0,
        link_len = link_create::ITER_INFO_LEN.end().next_multiple_of(8),
        map_type = map_create::MAP_TYPE.offset(),
        key_size = map_create::KEY_SIZE.offset(),
        value_size = map_create::VALUE_SIZE.offset(),
        max_entries = map_create::MAX_ENTRIES.offset(),
        map_name = map_create::MAP_NAME.offset(),
        hash = map_create::EXCL_PROG_HASH.offset(),
        hash_size = map_create::EXCL_PROG_HASH_SIZE.offset(),
        map_cmd = cmd::MAP_CREATE.0,
        map_len = map_create::LEN,
        elem_fd = map_elem::MAP_FD.offset(),
        elem_key = map_elem::KEY.offset(),
        elem_value = map_elem::VALUE.offset(),
        update_cmd = cmd::MAP_UPDATE_ELEM.0,
        elem_len = map_elem::LEN,
        freeze_cmd = cmd::MAP_FREEZE.0,
        freeze_len = map_elem::MAP_FD.end(),
        prog_type = prog_load::PROG_TYPE.offset(),
        insn_cnt = prog_load::INSN_CNT.offset(),
        insns = prog_load::INSNS.offset(),
        license = prog_load::LICENSE.offset(),
        log_level = prog_load::LOG_LEVEL.offset(),
        log_size = prog_load::LOG_SIZE.offset(),
        log_buf = prog_load::LOG_BUF.offset(),
        prog_flags = prog_load::PROG_FLAGS.offset(),
        sleepable = BPF_F_SLEEPABLE,
        prog_name = prog_load::PROG_NAME.offset(),
        fd_array = prog_load::FD_ARRAY.offset(),
        fd_array_cnt = prog_load::FD_ARRAY_CNT.offset(),
        signature = prog_load::SIGNATURE.offset(),
        signature_size = prog_load::SIGNATURE_SIZE.offset(),
        keyring = prog_load::KEYRING_ID.offset(),
        load_cmd = cmd::PROG_LOAD.0,
        load_len = prog_load::KEYRING_ID.end(),
        old_load_len = prog_load::FD_ARRAY.end(),
        run_fd = prog_run::PROG_FD.offset(),
        run_ctx = prog_run::CTX_IN.offset(),
        run_ctx_size = prog_run::CTX_SIZE_IN.offset(),
        run_cmd = cmd::PROG_RUN.0,
        run_len = prog_run::CTX_OUT.end(),
        run_retval = prog_run::RETVAL.offset(),
    )
}
