#!/usr/bin/env bash
# Runs a command that builds for AArch64 and executes what it built, under an emulator:
#     .ci/aarch64.sh cargo test --release --test gemm_exact
# RUNNER_CPU names the emulated CPU: cortex-a72 (no dot product), neoverse-n1 (dotprod), max (i8mm too).
# What is missing is set up first: see cross-tools.sh.
set -euo pipefail
. "$(dirname "$0")/cross-tools.sh"
target=aarch64-unknown-linux-gnu

compiler aarch64-linux-gnu gcc-aarch64-linux-gnu libc6-dev-arm64-cross
rust $target
qemu=$(emulator aarch64)
export CARGO_BUILD_TARGET=$target
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/aarch64 # another compiler than the host's
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-D warnings"
export EDGECLIP_RUNNER="$qemu -cpu ${RUNNER_CPU:-max} -L /usr/aarch64-linux-gnu"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=$EDGECLIP_RUNNER
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
exec "$@"
