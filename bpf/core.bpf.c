// SPDX-License-Identifier: MIT OR Apache-2.0
/* CO-RE relocations of every kind: fields, types, enumerators, flavours. */
#include "bpfseal.h"

char LICENSE[] SEC("license") = "GPL";

struct inside {
	char pad;
	int deep[4];
};

struct outside {
	int plain;
	unsigned int bits : 5;
	int sbits : 9;
	struct inside nested;
	struct inside *pointer;
	union {
		int left;
		long right;
	};
} __core;

struct outside___old {
	int gone;
} __core;

typedef struct outside outside_alias;

enum kinds {
	KIND_A = 1,
	KIND_B = -2,
};

enum wide_kinds {
	KIND_WIDE = 0x7000000000ULL,
};

enum { FIELD_BYTE_OFFSET, FIELD_BYTE_SIZE, FIELD_EXISTS, FIELD_SIGNED, FIELD_LSHIFT, FIELD_RSHIFT };
enum { TYPE_EXISTS, TYPE_SIZE, TYPE_MATCHES };
enum { TYPE_ID_LOCAL, TYPE_ID_TARGET };
enum { ENUMVAL_EXISTS, ENUMVAL_VALUE };

#define field(expression, what) __builtin_preserve_field_info(expression, what)
#define type(name, what) __builtin_preserve_type_info(*(typeof(name) *)0, what)
#define type_id(name, what) __builtin_btf_type_id(*(typeof(name) *)0, what)
#define enumerator(name, constant, what) \
	__builtin_preserve_enum_value(*(typeof(name) *)constant, what)

__u64 sum;

static __noinline int helper(struct outside *o)
{
	return o->nested.deep[2] + o->plain;
}

SEC("fentry/bpf_fentry_test1")
int fields(__u64 *ctx)
{
	struct outside *o = (void *)ctx[0];
	struct outside___old *old = (void *)o;

	sum += o->plain + o->nested.deep[3] + o->pointer->deep[1] + o->left;
	sum += field(o->bits, FIELD_BYTE_OFFSET) + field(o->bits, FIELD_BYTE_SIZE);
	sum += field(o->sbits, FIELD_SIGNED) + field(o->sbits, FIELD_LSHIFT);
	sum += field(o->sbits, FIELD_RSHIFT) + field(o->right, FIELD_EXISTS);
	if (field(old->gone, FIELD_EXISTS))
		sum += old->gone;
	sum += helper(o);
	return 0;
}

SEC("fexit/bpf_fentry_test1")
int types(__u64 *ctx)
{
	sum += type(struct outside, TYPE_EXISTS) + type(outside_alias, TYPE_SIZE);
#if __clang_major__ >= 15
	sum += type(struct outside, TYPE_MATCHES);
#endif
	sum += type_id(struct outside, TYPE_ID_LOCAL) + type_id(struct outside, TYPE_ID_TARGET);
	sum += enumerator(enum kinds, KIND_A, ENUMVAL_EXISTS);
	sum += enumerator(enum kinds, KIND_B, ENUMVAL_VALUE);
	sum += enumerator(enum wide_kinds, KIND_WIDE, ENUMVAL_VALUE);
	return helper((void *)ctx[0]);
}
