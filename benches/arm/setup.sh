#!/usr/bin/env bash
# Sets up what counting needs, once, on Debian 12 as root: llvm-mca, and in a folder of their own emulators of
# AArch64 and x86-64 that can count (Debian's have no plugins in user mode); with `setup.sh rival`, also ONNX
# Runtime for AArch64 with a Python to run it. Each part is made whole or not at all. Prints the folder.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
prefix=${EDGECLIP_ARM:-${XDG_CACHE_HOME:-$HOME/.cache}/edgeclip/arm}
jobs=${JOBS:-$(nproc)}
onnxruntime=1.32.0
mkdir -p "$prefix"

debian() {
    if ! grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release || [ "$(id -u)" != 0 ]; then
        echo "$1 is missing: install it, or run this as root on Debian 12" >&2
        exit 1
    fi
    apt-get update -qq >&2
}

# Calls a function with an empty folder, which becomes the part of that name when it succeeds.
part() { # name
    [ -d "$prefix/$1" ] && return
    debian "$1"
    echo "setting up $1" >&2
    rm -rf "$prefix/$1.part" && mkdir "$prefix/$1.part"
    "make_$1" "$prefix/$1.part" >&2
    mv -T "$prefix/$1.part" "$prefix/$1"
}

# The host's Python (with venv), with what configures QEMU and quantises models.
make_python() {
    python3 -m venv --copies "$1"
    "$1/bin/python3" -m pip install -q meson==1.5.0 pycotap==1.3.1 onnx onnxruntime==$onnxruntime
}

# From the source of Debian's backport: the release's own QEMU does not know the newer CPUs.
make_emulators() {
    local work=$1/work
    mkdir -p "$work/lists/partial" "$work/build"
    apt-get install -y -qq --no-install-recommends gcc libc6-dev libglib2.0-dev ninja-build pkg-config xz-utils
    local mirror
    # shellcheck disable=SC2016 # apt's variable
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' | sed -n 1p)
    printf '%s\n' 'Types: deb-src' "URIs: $mirror" 'Suites: bookworm-backports' 'Components: main' \
        'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg' >"$work/backports.sources"
    local apt=(apt-get -qq -o Dir::Etc::sourcelist="$work/backports.sources" -o Dir::Etc::sourceparts=/dev/null
        -o Dir::State::Lists="$work/lists" -o APT::Sandbox::User=root)
    "${apt[@]}" update
    (cd "$work" && "${apt[@]}" source --tar-only qemu && tar -xf qemu_*.orig.tar.xz --no-same-owner --one-top-level=qemu --strip-components=1)
    (
        cd "$work/build"
        ../qemu/configure --target-list=aarch64-linux-user,arm-linux-user,x86_64-linux-user --enable-plugins --disable-docs --disable-system \
            --disable-tools --disable-guest-agent --disable-install-blobs --disable-werror --disable-debug-info \
            --python="$prefix/python/bin/python3"
        ninja -j"$jobs" qemu-aarch64 qemu-arm qemu-x86_64
    )
    cp "$work/build/qemu-"{aarch64,arm,x86_64} "$work/qemu/include/qemu/qemu-plugin.h" "$1/"
    rm -r "$work"
}

# ONNX Runtime's wheel, and Debian's Python, for AArch64.
make_rival() {
    mkdir "$1/debs"
    dpkg --add-architecture arm64
    apt-get update -qq
    (cd "$1/debs" && apt-get -o APT::Sandbox::User=root download -qq \
        {python3.11-minimal,libpython3.11-minimal,libpython3.11-stdlib,libc6,libstdc++6,libgcc-s1,zlib1g,libexpat1,libffi8,libbz2-1.0,liblzma5}:arm64)
    for package in "$1"/debs/*.deb; do dpkg-deb -x "$package" "$1/sys"; done
    rm -r "$1/debs"
    "$prefix/python/bin/python3" -m pip install -q --target "$1/site" --no-compile --only-binary=:all: \
        --python-version 3.11 --implementation cp --platform manylinux_2_28_aarch64 \
        --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 numpy onnxruntime==$onnxruntime
}

if ! command -v llvm-mca-22 >/dev/null; then
    debian llvm-mca-22
    apt-get install -y -qq --no-install-recommends llvm-22 >&2
fi
part python
part emulators
for more in "$@"; do part "$more"; done
if [ ! "$prefix/blocks.so" -nt "$here/blocks.c" ]; then
    # shellcheck disable=SC2046 # several flags
    gcc -Wall -shared -fPIC -O2 -I"$prefix/emulators" $(pkg-config --cflags glib-2.0) -o "$prefix/blocks.so" "$here/blocks.c"
fi
echo "$prefix"
