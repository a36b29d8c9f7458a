#!/usr/bin/env bash
# Checks a package as its users meet it, as root on Debian with debootstrap, lintian, and for the part under systemd
# qemu-system-x86, busybox-static, kmod, linux-image-amd64 and e2fsprogs:
#     boards/deb/check.sh target/debian/edgeclip_0.1.0-1_amd64.deb
# Installed into a bare Debian 12, run, booted in a virtual machine (twice: the second time with a read-only root),
# upgraded, removed, purged. Takes four to seven minutes, most of it emulation; the first time two more for the Debian.
# A package for another architecture is unpacked, and its program run under qemu-aarch64.
set -euo pipefail
deb=$(readlink -f "$1")
here=$(readlink -f "$(dirname "$0")")
. "$here/../machine.sh"
pictures=$here/../../examples/images
cache=${XDG_CACHE_HOME:-$HOME/.cache}/edgeclip
work=$(mktemp -d)
root=$work/root
mkdir "$root"
trap 'rm -rf "$work"' EXIT
umask 022
chmod 755 "$work"

fail() { echo "FAILED: $*" >&2; exit 1; }
field() { dpkg-deb --field "$deb" "$1"; }
inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
apt() { inside apt-get -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold --no-install-recommends "$@"; }

# Errors only, and none of the maintainer, whom DEBEMAIL names.
lint() { lintian --allow-root --fail-on error --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog "$deb"; }

contents() {
    local list file
    list=$(dpkg-deb --contents "$deb" | awk '{ print $6 }')
    for file in usr/bin/edgeclip usr/lib/systemd/system/edgeclip.service usr/lib/udev/rules.d/60-edgeclip.rules \
        usr/lib/sysusers.d/edgeclip.conf etc/edgeclip/config.toml usr/share/man/man1/edgeclip.1.gz \
        usr/share/man/man1/edgeclip-model-pull.1.gz usr/share/bash-completion/completions/edgeclip \
        usr/share/zsh/vendor-completions/_edgeclip usr/share/fish/vendor_completions.d/edgeclip.fish \
        usr/share/doc/edgeclip/copyright; do
        grep -qx "\./$file" <<<"$list" || fail "no $file"
    done
    [ "$(dpkg-deb --info "$deb" conffiles)" = /etc/edgeclip/config.toml ] || fail "conffiles"
}

# systemd 252 doesn't know two keys, and says so.
verify_unit() { # command...
    local said
    said=$("$@" systemd-analyze verify edgeclip.service 2>&1 | grep -v 'RestartSteps\|RestartMaxDelaySec' || true)
    [ -z "$said" ] || fail "$said"
}

debian() {
    local base=$cache/bookworm-$(field Architecture).tar
    if [ ! -f "$base" ]; then
        mkdir -p "$cache"
        debootstrap --variant=minbase --include=systemd,systemd-sysv,udev,dbus,procps,man-db bookworm "$root"
        tar -C "$root" --one-file-system -cf "$base.part" .
        mv "$base.part" "$base"
    else
        tar -C "$root" -xf "$base"
    fi
}

# What is there, but for logs, caches, what a start makes, the package manager's memory and accounts.
files() {
    (cd "$root" && find . -xdev \( -path ./var/log -o -path ./var/cache -o -path ./var/lib/dpkg -o -path ./var/lib/apt \
        -o -path ./tmp -o -path ./run \) -prune -o ! -name 'gshadow*' ! -name 'group*' ! -name 'passwd*' ! -name 'shadow*' -print) | sort
}

install_and_use() {
    cp "$deb" "$root/tmp/edgeclip.deb"
    cp -r "$pictures" "$root/tmp/images"
    apt install /tmp/edgeclip.deb | tee "$work/said"
    grep -q 'systemctl enable --now edgeclip' "$work/said" || fail "the two commands are not said"
    [ "$(inside edgeclip --version)" = "edgeclip $(field Version | sed 's/-.*//')" ] || fail "version"
    inside edgeclip classify /tmp/images/cat.jpg --labels "a cat, a rocket" --top 1 | grep 'a cat' || fail "classify"
    for page in edgeclip edgeclip-model-pull; do inside man -w "$page" >/dev/null || fail "no manual page $page"; done
    inside bash -c '. /usr/share/bash-completion/completions/edgeclip && complete -p edgeclip' || fail "completions"
    [ "$(inside systemctl is-enabled edgeclip)" = disabled ] || fail "enabled without being asked"
    inside getent group gpio >/dev/null || fail "no group gpio"
    verify_unit inside
    # No camera, no labels yet; but what the package brings is right.
    inside edgeclip doctor --config /etc/edgeclip/config.toml >"$work/said" || true
    grep 'configuration: right' "$work/said" || fail "doctor"
}

# A disk with the system, a disk for its state, Debian's kernel, and a first program that mounts the one.
boot() {
    local kernel version files disk=$work/disk
    kernel=$(ls /boot/vmlinuz-*-amd64 | sort -V | tail -n 1)
    version=${kernel#/boot/vmlinuz-}
    mapfile -t files < <(modules / "$version" virtio_pci virtio_blk ext4 vivid)
    begin_disk "$disk" "$(command -v busybox)" "${files[@]}"
    mkdir "$disk/root"
    {
        echo 'mode=$(/bin/busybox grep -o "root_mode=r[ow]" /proc/cmdline)'
        echo '/bin/busybox mount -t ext4 -o ${mode#*=} /dev/vda /root'
        echo 'for fs in proc sys dev; do /bin/busybox mount --move /$fs /root/$fs; done'
        echo 'exec /bin/busybox switch_root /root /sbin/init'
    } >>"$disk/init"
    pack_disk "$disk" >"$work/disk.cpio"

    cp -a "$root" "$work/booted"
    mkdir -p "$work/booted/opt"
    cp -r "$pictures" "$work/booted/opt/images"
    cp "$work/next.deb" "$here/inside.sh" "$here/../machine.sh" "$work/booted/opt/"
    printf '[Unit]\nAfter=multi-user.target\n[Service]\nType=oneshot\nExecStart=/bin/bash /opt/inside.sh\n[Install]\nWantedBy=graphical.target\n' >"$work/booted/etc/systemd/system/inside.service"
    chroot "$work/booted" systemctl enable --quiet inside.service
    chroot "$work/booted" systemctl set-default --quiet graphical.target
    # It would hang up on whoever writes there.
    chroot "$work/booted" systemctl mask --quiet serial-getty@ttyS0.service
    mke2fs -q -t ext4 -d "$work/booted" "$work/system.img" 900M
    mke2fs -q -t ext4 -L edgeclip "$work/state.img" 64M
    local mode
    for mode in rw ro; do
        echo "booted with root_mode=$mode"
        timeout 900 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m 1024 -smp 2 -nographic -no-reboot -nic none \
            -kernel "$kernel" -initrd "$work/disk.cpio" -append "console=ttyS0 panic=-1 quiet root_mode=$mode" \
            -drive "file=$work/system.img,if=virtio,format=raw" -drive "file=$work/state.img,if=virtio,format=raw" \
            >"$work/console" 2>&1 </dev/null || true
        grep -a '^inside:' "$work/console" || true
        grep -aq '^inside: all is well' "$work/console" || { tail -n 60 "$work/console" && fail "root_mode=$mode"; }
    done
}

# The same with a higher version and another default.
make_next() {
    dpkg-deb --raw-extract "$deb" "$work/next"
    sed -i "s/^Version: .*/&+next/" "$work/next/DEBIAN/control"
    echo '# A newer default.' >>"$work/next/etc/edgeclip/config.toml"
    dpkg-deb --root-owner-group -Znone --build "$work/next" "$work/next.deb" >/dev/null
}

# Over a file that its user has changed.
upgrade_remove_purge() {
    cp "$work/next.deb" "$root/tmp/next.deb"
    echo '# Mine.' >>"$root/etc/edgeclip/config.toml"
    mkdir -p "$root/var/lib/private/edgeclip" && ln -s private/edgeclip "$root/var/lib/edgeclip"
    echo a cat >"$root/etc/edgeclip/labels.txt"
    apt install /tmp/next.deb
    [ "$(inside dpkg-query -W -f '${Version}' edgeclip)" = "$(field Version)+next" ] || fail "not upgraded"
    [ "$(tail -n 1 "$root/etc/edgeclip/config.toml")" = '# Mine.' ] || fail "the configuration was not kept"

    apt remove edgeclip
    [ ! -e "$root/usr/bin/edgeclip" ] || fail "not removed"
    [ -e "$root/etc/edgeclip/config.toml" ] && [ -e "$root/var/lib/edgeclip" ] || fail "removal took what is its user's"
    apt purge edgeclip
    files >"$work/after"
    # The folder is systemd's.
    diff "$work/before" <(grep -vx ./var/lib/private "$work/after") || fail "purge leaves something, or takes too much"
}

contents
lint
if [ "$(field Architecture)" != "$(dpkg --print-architecture)" ]; then
    dpkg-deb --extract "$deb" "$root"
    emulator=(qemu-aarch64 -L /usr/aarch64-linux-gnu "$root/usr/bin/edgeclip")
    command -v qemu-aarch64 >/dev/null || emulator[0]=${EDGECLIP_AARCH64:-$cache/aarch64}/qemu/usr/bin/qemu-aarch64-static
    "${emulator[@]}" --version
    "${emulator[@]}" classify "$pictures/cat.jpg" --labels "a cat, a rocket" --top 1 | grep 'a cat' || fail "classify"
    echo "fine, as far as an emulator shows: $(field Architecture)"
    exit
fi
debian
files | grep -vx ./var/lib/private >"$work/before"
install_and_use
make_next
boot
upgrade_remove_purge
echo "all is well"
