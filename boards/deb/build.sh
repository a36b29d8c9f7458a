#!/usr/bin/env bash
# Makes the Debian package, target/debian/edgeclip_VERSION_ARCHITECTURE.deb:
#     boards/deb/build.sh                                            # for this machine
#     .ci/aarch64.sh boards/deb/build.sh aarch64-unknown-linux-gnu   # for a 64-bit Raspberry Pi OS or Debian
# The second sets up the cross compiler on Debian 12; elsewhere any works that cargo knows as the target's linker.
# DEBFULLNAME and DEBEMAIL name the maintainer. Takes a minute beyond cargo's builds; the first time, cargo-deb is
# built as well.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo_deb=3.8.0
host=$(rustc -vV | sed -n 's/^host: //p')
target=${1:-$host}
folder=${CARGO_TARGET_DIR:-target}
[ "$target" = "$host" ] && built=$folder/release || built=$folder/$target/release
[ "$target" = "$host" ] && for_target=() || for_target=(--target "$target")
stage=target/deb/stage # Cargo.toml's assets lie there

cargo build --release --locked "${for_target[@]}"

# The manual pages come from the program itself: as it is, by an emulator, or by one for this machine.
runner=CARGO_TARGET_$(tr a-z- A-Z_ <<<"$target")_RUNNER
program=("$built/edgeclip")
if [ -n "${!runner:-}" ]; then
    read -ra program <<<"${!runner} $built/edgeclip"
elif [ "$target" != "$host" ]; then
    env -u CARGO_BUILD_TARGET -u RUSTC -u CARGO_TARGET_DIR cargo build --release --locked
    program=(target/release/edgeclip)
fi

rm -rf $stage && mkdir -p $stage/man
install -m 755 "$built/edgeclip" $stage/edgeclip
"${program[@]}" man $stage/man
for shell in bash zsh fish; do "${program[@]}" completions $shell >$stage/$shell; done
# The unit as it is, but for the program's place and the group of pins, which the package makes.
sed -e '1,/^$/d' -e 's|^ExecStart=/usr/local/bin/|ExecStart=/usr/bin/|' -e 's|^#SupplementaryGroups=gpio|SupplementaryGroups=gpio|' \
    -e '/^# Pins on Raspberry Pi OS/d' boards/systemd/edgeclip.service >$stage/edgeclip.service
grep -q '^ExecStart=/usr/bin/edgeclip run ' $stage/edgeclip.service
grep -q '^SupplementaryGroups=gpio' $stage/edgeclip.service
cp boards/deb/edgeclip.sysusers $stage/
# Every key, none set but the labels' file: what is set here would win over the board's profile.
{
    cat boards/deb/config-head
    sed -e '1,2d' -e 's|^\([a-z_]* = \)|#\1|' -e 's|^#file = "/etc/edgeclip/labels.toml"|file = "/etc/edgeclip/labels.txt"|' src/config/reference.toml
} >$stage/config.toml
"${program[@]}" config check --config $stage/config.toml
grep -q '^file = "/etc/edgeclip/labels.txt"' $stage/config.toml
cargo tree --locked --edges normal --prefix none --format '{p} {l}' --target "$target" | grep -v '^edgeclip ' | sed 's/ ([^)]*)//g' | sort -u >$stage/crates

version=$(cargo pkgid --locked | sed 's/.*[#@]//')
maintainer="${DEBFULLNAME:-The edgeclip authors} <${DEBEMAIL:-edgeclip@$(uname -n)}>"
date=$(date -R -d "@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}")
printf 'edgeclip (%s-1) stable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n' "$version" "$maintainer" "$date" >$stage/changelog

# What the package says that it needs must be what the binary was linked with.
glibc=$(objdump -T $stage/edgeclip | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -Vu | tail -n 1)
said=$(sed -n 's/^depends = "libc6 (>= \([0-9.]*\)).*/\1/p' Cargo.toml)
if [ "$(printf '%s\n' "$glibc" "$said" | sort -V | tail -n 1)" != "$said" ]; then
    echo "the binary needs glibc $glibc, but Cargo.toml says libc6 (>= $said)" >&2
    exit 1
fi

tools=$PWD/target/deb/tools
if [ "$("$tools/bin/cargo-deb" --version 2>/dev/null)" != "cargo-deb $cargo_deb" ]; then
    env -u CARGO_BUILD_TARGET -u RUSTC -u CARGO_TARGET_DIR cargo install --quiet --force --locked --root "$tools" --version $cargo_deb cargo-deb
fi
env -u CARGO_BUILD_TARGET -u RUSTC -u CARGO_TARGET_DIR "$tools/bin/cargo-deb" deb --no-build --no-strip "${for_target[@]}" --maintainer "$maintainer" --output target/debian/
