#!/usr/bin/env bash
# Builds a fully static program for AArch64, with musl for its C library, runs it under an emulator, and says its size:
#     .ci/musl.sh [command]
# The linker and the C compiler are zig's, from the package `ziglang` of the Python registry, which brings musl. What
# is missing is set up first: see cross-tools.sh; the first build takes as long as all of tract and Rust's standard library.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/cross-tools.sh
target=aarch64-unknown-linux-musl
zig_version=0.17.1

rust_with_source $target
qemu=$(emulator aarch64)
if [ ! -d "$prefix/zig" ]; then
    rm -rf "$prefix/zig.part"
    python3 -m pip install --quiet --target "$prefix/zig.part" ziglang==$zig_version
    mv -T "$prefix/zig.part" "$prefix/zig"
fi
# rustc says the target in LLVM's words, zig knows it by its own.
cat >"$prefix/zig-cc" <<END
#!/usr/bin/env bash
words=()
for word in "\$@"; do case \$word in --target=*) ;; *) words+=("\$word") ;; esac; done
PYTHONPATH="$prefix/zig" exec python3 -m ziglang cc -target aarch64-linux-musl "\${words[@]}"
END
chmod 755 "$prefix/zig-cc"
export CARGO_BUILD_TARGET=$target
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/musl
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=$prefix/zig-cc
# zig brings the start files and the unwinder as well.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="-C link-self-contained=no -C target-feature=+crt-static"
export EDGECLIP_RUNNER="$qemu -cpu ${RUNNER_CPU:-max}"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER=$EDGECLIP_RUNNER
export CC_aarch64_unknown_linux_musl=$prefix/zig-cc
[ $# = 0 ] || exec "$@"

cargo build --profile dist --no-default-features
program=$CARGO_TARGET_DIR/$target/dist/edgeclip
$EDGECLIP_RUNNER "$program" --version
echo "$program has $(stat -c %s "$program") bytes"
