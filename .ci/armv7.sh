#!/usr/bin/env bash
# Runs a command that builds for 32-bit Arm and executes what it built, under an emulated Cortex-A7 (a Pi 2, or a
# 32-bit system on a later one); without a command, a smoke test:
#     .ci/armv7.sh [cargo run --release -- classify ..]
# .cargo/config.toml says which CPUs the program is for. What is missing is set up first: see cross-tools.sh; the first
# build takes as long as all of tract and Rust's standard library.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/cross-tools.sh
target=armv7-unknown-linux-gnueabihf

compiler arm-linux-gnueabihf gcc-arm-linux-gnueabihf libc6-dev-armhf-cross
rust_with_source $target
qemu=$(emulator arm)
export CARGO_BUILD_TARGET=$target
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/armv7
export CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER=arm-linux-gnueabihf-gcc
export EDGECLIP_RUNNER="$qemu -cpu cortex-a7 -L /usr/arm-linux-gnueabihf"
export CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_RUNNER=$EDGECLIP_RUNNER
export CC_armv7_unknown_linux_gnueabihf=arm-linux-gnueabihf-gcc
[ $# = 0 ] || exec "$@"

cargo build --release
EDGECLIP_KERNELS=neon,scalar cargo test --release --test gemm_exact --test answers
