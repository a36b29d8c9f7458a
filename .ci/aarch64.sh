#!/usr/bin/env bash
# Runs a command that builds for AArch64 and executes what it built, under an emulator:
#     .ci/aarch64.sh cargo test --release --test gemm_exact
# RUNNER_CPU names the emulated CPU: cortex-a72 (no dot product), neoverse-n1 (dotprod), max (i8mm too).
#
# What is missing is set up once, on Debian 12 as root: the cross compiler is installed; a Rust standard
# library (where rustup has none for the target) and the emulator are unpacked into a folder of their own.
set -euo pipefail
prefix=${EDGECLIP_AARCH64:-${XDG_CACHE_HOME:-$HOME/.cache}/edgeclip/aarch64}
target=aarch64-unknown-linux-gnu

packages() {
    if ! grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release || [ "$(id -u)" != 0 ]; then
        echo "$1 is missing: install it, or run this as root on Debian 12" >&2
        exit 1
    fi
    apt-get update -qq
}

compiler() {
    [ -d /usr/aarch64-linux-gnu/include ] && command -v aarch64-linux-gnu-gcc >/dev/null && return
    packages aarch64-linux-gnu-gcc
    apt-get install -y -qq --no-install-recommends gcc-aarch64-linux-gnu libc6-dev-arm64-cross
}

# Takes packages apart into a folder of the prefix, whole or not at all.
unpack() { # folder package...
    local folder=$prefix/$1 part=$prefix/$1.part
    shift
    rm -rf "$part" "$folder" && mkdir -p "$part/debs"
    (cd "$part/debs" && apt-get download -qq "$@")
    for package in "$part"/debs/*.deb; do dpkg-deb -x "$package" "$part"; done
    rm -r "$part/debs"
    mv -T "$part" "$folder"
}

# The first package with a name of that form among what others depend on.
named_by() { # package,... pattern
    apt-cache depends ${1//,/ } | grep -oE -m 1 "$2" || { echo "no package $2" >&2 && exit 1; }
}

rust() {
    [ -d "$(rustc --print target-libdir --target $target)" ] && return
    if [ ! -d "$prefix/rust" ]; then
        dpkg --add-architecture arm64
        packages "the target $target"
        local std llvm
        std=$(named_by rustc-web:amd64,libstd-rust-web-dev:amd64 'libstd-rust-web-[0-9.]+')
        llvm=$(named_by "$std:amd64" 'libllvm[0-9]+')
        unpack rust rustc-web:amd64 "$std:amd64" libstd-rust-web-dev:amd64 libstd-rust-web-dev:arm64 "$llvm:amd64"
    fi
    printf '#!/bin/sh\nLD_LIBRARY_PATH="%s" exec "%s" "$@"\n' "$prefix/rust/usr/lib/x86_64-linux-gnu" "$prefix/rust/usr/bin/rustc" >"$prefix/rustc"
    chmod 755 "$prefix/rustc"
    export RUSTC=$prefix/rustc
}

emulator() {
    qemu=$(command -v qemu-aarch64 || command -v qemu-aarch64-static || echo "$prefix/qemu/usr/bin/qemu-aarch64-static")
    [ -x "$qemu" ] && return
    packages qemu-aarch64
    unpack qemu qemu-user-static
}

mkdir -p "$prefix"
compiler
rust
emulator
export CARGO_BUILD_TARGET=$target
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/aarch64 # another compiler than the host's
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-D warnings"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$qemu -cpu ${RUNNER_CPU:-max} -L /usr/aarch64-linux-gnu"
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
exec "$@"
