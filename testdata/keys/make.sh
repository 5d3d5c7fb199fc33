#!/bin/sh
# Makes the keys, certificates and signatures of this folder anew. They are for tests only: the
# private keys are public.
set -eu
cd "$(dirname "$0")"
cert() { # name, extra options
    name=$1; shift
    openssl req -x509 -new -key "$name.key.pem" -subj "/O=bpfseal tests/CN=$name" -days 36500 \
        -addext subjectKeyIdentifier=hash -out "$name.cert.pem" "$@"
}
for bits in 2048 3072 4096; do
    openssl genpkey -quiet -algorithm RSA -pkeyopt "rsa_keygen_bits:$bits" -out "rsa$bits.key.pem"
    cert "rsa$bits"
done
for curve in 256 384 521; do
    openssl genpkey -quiet -algorithm EC -pkeyopt "ec_paramgen_curve:P-$curve" -out "p$curve.key.pem"
    cert "p$curve"
    [ "$curve" = 521 ] || openssl ec -in "p$curve.key.pem" -out "p$curve.sec1.pem" 2>/dev/null
done
openssl rsa -traditional -in rsa2048.key.pem -out rsa2048.pkcs1.pem 2>/dev/null
openssl x509 -in rsa2048.cert.pem -outform DER -out rsa2048.cert.der
openssl pkcs8 -topk8 -in p256.key.pem -passout pass:test -out p256.encrypted.pem
openssl genpkey -quiet -algorithm ED25519 -out ed25519.key.pem
openssl req -x509 -new -key p256.key.pem -subj "/CN=no key id" -days 36500 \
    -addext subjectKeyIdentifier=none -out p256.no-key-id.pemopenssl req -x509 -new -key p256.key.pem -subj "/O=bpfseal tests/CN=code" -days 36500 \
    -addext subjectKeyIdentifier=hash -addext extendedKeyUsage=codeSigning -out p256.code.pem

# ML-DSA needs OpenSSL 3.5, which can be another one: OPENSSL_PQ.
pq=${OPENSSL_PQ:-openssl}
for set in 44 65 87; do
    "$pq" genpkey -quiet -algorithm "ML-DSA-$set" -out "mldsa$set.key.pem"
    "$pq" req -x509 -new -key "mldsa$set.key.pem" -subj "/O=bpfseal tests/CN=mldsa$set" \
        -days 36500 -addext subjectKeyIdentifier=hash -out "mldsa$set.cert.pem"
done
"$pq" pkey -in mldsa44.key.pem -provparam ml-dsa.output_formats=seed-only -out mldsa44.seed.pem

# A chain: root, intermediate, leaf; the leaf signs, by issuer and serial number, and the
# certificates below the root are in the signature.
for name in root middle leaf; do
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$name.key.pem"
done
cert root -addext basicConstraints=critical,CA:TRUE
issue() { # name, issuer, extension
    printf '%s\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid,issuer\n' "$3" >ext.tmp
    openssl req -new -key "$1.key.pem" -subj "/O=bpfseal tests/CN=$1" |
        openssl x509 -req -CA "$2.cert.pem" -CAkey "$2.key.pem" -days 36500 -extfile ext.tmp \
            -out "$1.cert.pem" 2>/dev/null
    rm ext.tmp
}
issue middle root basicConstraints=critical,CA:TRUE
issue leaf middle basicConstraints=CA:FALSE
printf 'bpfseal signs this' >content.bin
sign() { # output, options
    out=$1; shift
    openssl cms -sign -binary -in content.bin -outform DER -md sha256 -out "$out" "$@"
}
sign chain.sig.der -signer leaf.cert.pem -inkey leaf.key.pem -certfile middle.cert.pem -noattr
sign attributes.sig.der -signer leaf.cert.pem -inkey leaf.key.pem -certfile middle.cert.pem -nosmimecap
sign sha512.sig.der -signer rsa2048.cert.pem -inkey rsa2048.key.pem -noattr -nocerts -md sha512
sign p384.sig.der -signer p384.cert.pem -inkey p384.key.pem -noattr -nocerts -keyid -md sha384

# Keys that only the kernel's crypto code is tried with.
mkdir -p odd
for bits in 512 1024 1032 1536 2000; do
    openssl genpkey -quiet -algorithm RSA -pkeyopt "rsa_keygen_bits:$bits" -out "odd/rsa$bits.key.pem"
done
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -pkeyopt rsa_keygen_pubexp:3 \
    -out odd/rsa1024e3.key.pem
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-192 -out odd/p192.key.pem
