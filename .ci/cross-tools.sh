# What the scripts beside this one share: where a compiler, a standard library or an emulator for Arm is missing, it is
# set up once, on Debian 12 as root. Rust's parts and the emulators are unpacked into a folder of their own.
prefix=${EDGECLIP_AARCH64:-${XDG_CACHE_HOME:-$HOME/.cache}/edgeclip/aarch64}

packages() { # what is missing
    if ! grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release || [ "$(id -u)" != 0 ]; then
        echo "$1 is missing: install it, or run this as root on Debian 12" >&2
        exit 1
    fi
    apt-get update -qq
}

compiler() { # triple package...
    [ -d "/usr/$1/include" ] && command -v "$1-gcc" >/dev/null && return
    packages "$1-gcc"
    apt-get install -y -qq --no-install-recommends "${@:2}"
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

# Debian's Rust, which has the standard library for AArch64 as a package.
debian_rust() {
    if [ ! -d "$prefix/rust" ]; then
        dpkg --add-architecture arm64
        packages "Rust's standard library for the target"
        local std llvm
        std=$(named_by rustc-web:amd64,libstd-rust-web-dev:amd64 'libstd-rust-web-[0-9.]+')
        llvm=$(named_by "$std:amd64" 'libllvm[0-9]+')
        unpack rust rustc-web:amd64 "$std:amd64" libstd-rust-web-dev:amd64 libstd-rust-web-dev:arm64 "$llvm:amd64"
    fi
    printf '#!/bin/sh\nLD_LIBRARY_PATH="%s" exec "%s" "$@"\n' "$prefix/rust/usr/lib/x86_64-linux-gnu" "$prefix/rust/usr/bin/rustc" >"$prefix/rustc"
    chmod 755 "$prefix/rustc"
    export RUSTC=$prefix/rustc
}

# A compiler with the target's standard library.
rust() { # target
    [ -d "$(rustc --print target-libdir --target "$1")" ] || debian_rust
}

# A compiler that builds the target's standard library from its source, where there is none as a package.
rust_with_source() { # target
    [ -d "$(rustc --print target-libdir --target "$1")" ] && return
    debian_rust
    if [ ! -d "$prefix/rust-source" ]; then
        packages "the source of Rust's standard library"
        unpack rust-source rust-web-src
    fi
    local library
    library=$(dirname "$(find "$prefix/rust-source" -path '*/library/Cargo.lock')")
    mkdir -p "$prefix/rust/usr/lib/rustlib/src/rust"
    ln -sfn "$library" "$prefix/rust/usr/lib/rustlib/src/rust/library"
    # What cargo calls unstable is the building of std, not std.
    export RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std
}

# The path of an emulator.
emulator() { # architecture
    local name
    for name in "qemu-$1" "qemu-$1-static"; do command -v "$name" && return; done
    if [ ! -d "$prefix/qemu" ]; then
        packages "qemu-$1" >&2
        unpack qemu qemu-user-static >&2
    fi
    echo "$prefix/qemu/usr/bin/qemu-$1-static"
}

mkdir -p "$prefix"
