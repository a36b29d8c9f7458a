#!/usr/bin/env bash
# Checks the program on a virtual board, as root on Debian 12 (elsewhere install what set_up does):
#     boards/virtual/check.sh [target/aarch64/aarch64-unknown-linux-gnu/release/edgeclip]
# Debian's arm64 kernel runs in qemu-system-aarch64 with vivid as the camera, a PL061 with eight GPIO lines, softdog as
# the watchdog, and mosquitto beside it; then in an emulated Raspberry Pi 3B. Lines are read from outside, in QEMU.
# Without an argument the program is built first.
set -Eeuo pipefail
cd "$(dirname "$0")/../.."
. .ci/cross-tools.sh
. boards/machine.sh
. boards/virtual/machine.sh
kernel=$prefix/kernel
pictures=examples/images
config=/etc/edgeclip.toml
token=the-key-of-a-virtual-board
machine='' broker=''
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$work"' EXIT
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR

set_up() {
    local program
    for program in qemu-system-aarch64 mosquitto mosquitto_sub curl ffmpeg busybox depmod; do
        command -v $program >/dev/null && continue
        packages $program
        apt-get install -y -qq --no-install-recommends qemu-system-arm mosquitto mosquitto-clients curl ffmpeg busybox-static kmod >/dev/null
    done
    compiler aarch64-linux-gnu gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    if [ ! -d "$kernel" ]; then
        dpkg --add-architecture arm64
        packages "a kernel for arm64"
        unpack kernel "$(named_by linux-image-arm64:arm64 'linux-image-[0-9.]+-[0-9]+-arm64'):arm64" busybox-static:arm64
    fi
    version=$(basename "$kernel"/lib/modules/*)
    depmod -b "$kernel" "$version"
}

# Lines: 0 a lamp that follows a label, 1 a gate that is open when nobody knows, 2 says that frames come.
configure() { # disk-folder
    cat >"$1$config" <<END
device = "virtual"
state_dir = "/var/lib/edgeclip"
[source]
format = "auto"
silent_after_ms = 2000
[labels]
file = "/etc/labels.toml"
[decide]
enter = 0.1
leave = 0.05
dwell_ms = 0
hold_ms = 0
[gpio]
frames_within_s = 5
pin = [{ name = "lamp", line = 0 }, { name = "gate", line = 1, fail_safe = "on" }]
alive = { line = 2, blink_ms = 0 }
[mqtt]
broker = "mqtt://10.0.2.2:$broker_port"
[http]
listen = "0.0.0.0:8780"
token = "$token"
[watchdog]
frames_within_s = 5
END
    { bars bars lamp && label "a cat" gate; } >"$1/etc/labels.toml"
    { label "a cat" lamp && label "a rocket" gate; } >"$1/etc/pictures.toml"
}
label() { # name pin
    printf '[[label]]\nname = "%s"\n%s\n[[label.output]]\ngpio = "%s"\n' "$1" "${3:-}" "$2"
}
# The camera's coloured bars are none of these, but the built-in model finds them near.
bars() { # name pin
    label "$1" "$2" 'prompts = ["a xylophone", "a calendar", "a piano"]'
}

virt() { # disk-folder
    local disk=$1
    mapfile -t files < <(modules "$kernel" "$version" virtio_pci virtio_net vivid)
    begin_disk "$disk" "$kernel/bin/busybox" "${files[@]}"
    mapfile -t files < <(modules "$kernel" "$version" softdog)
    cp "${files[@]}" "$disk/"
    finish_disk "$disk"
    configure "$disk"
    aarch64-linux-gnu-gcc -shared -fPIC -O2 -Wall -Wextra -Werror -o "$disk/lib/padded.so" boards/virtual/padded.c
}

levels_are() { # lamp gate alive
    (($(peek 0x090303fc) % 8 == $1 + 2 * $2 + 4 * $3))
}
are_outputs() { (($(peek 0x09030400) % 8 == 7)); }

# What the board says of itself.
inspects() {
    guest 'edgeclip doctor --board auto' >"$work/doctor" || true
    grep '^ok  *board: .*, profile generic: ' "$work/doctor" || fail "doctor: board"
    grep '^ok  *kernel: neon' "$work/doctor" || fail "doctor: kernel"
    grep '^ok  *source: video0: a frame of 640 x 480' "$work/doctor" || fail "doctor: source"
    say "doctor sees the board, its kernel and its camera"
}

# Eight bars have the colours of vivid, or its greys: rows that are read with a wrong length would mix them.
averages() {
    page /snapshot.jpg -f -o "$work/picture" 2>/dev/null || return
    ffmpeg -nostdin -y -loglevel error -i "$work/picture" -vf 'crop=iw:ih/8:0:ih*3/4,scale=8:1:flags=area,format=rgb24' -f rawvideo - | od -An -v -tu1 -w3
}
is_coloured() { [ "$(averages | awk '{ printf "%d%d%d ", ($1 > 95), ($2 > 95), ($3 > 95) }')" = "111 110 011 010 101 100 001 000 " ]; }
is_grey() { [ "$(averages | awk '$1 == $2 && $2 == $3 && (NR == 1 || $1 + 4 < last) { n++ } { last = $1 } END { print n }')" = 8 ]; }
captures() { # format fourcc row-bytes picture [padding]
    local bytes=$(($3 + ${5:-0}))
    guest "sed -i 's/^format = .*/format = \"$1\"/' $config"
    begin "${5:+LD_PRELOAD=/lib/padded.so PAD=$5}" --config $config
    wait_for "$1: rows of $bytes bytes" logs "$2 640 x 480, rows of $bytes bytes"
    wait_for "$1: the picture is right" "is_$4"
    stop
}

# The levels are those of what is there, before and after they are read: pictures change every second.
shows() { # cat rocket lamp gate
    is_there "$1" "$2" && levels_are "$3" "$4" 1 && is_there "$1" "$2"
}
is_there() { # cat rocket
    [[ $(page /api/state) =~ '"label":"a cat"'[^}]*'"active":'$1.*'"label":"a rocket"'[^}]*'"active":'$2 ]]
}

# Pictures whose labels are known, in turn.
moves_pins() {
    guest 'mkdir /three; cp /images/cat.jpg /images/dogs.jpg /images/rocket.jpg /three'
    guest "sed 's/^format = .*/pace = \"realtime\"\nrepeat = true/; s/^enter = .*/smoothing = { kind = \"off\" }/; s/^leave = .*//' $config >/etc/pictures-run.toml"
    (($(peek 0x09030400) == 0)) || fail "lines are outputs before"
    begin "" --config /etc/pictures-run.toml --source dir:/three --fps 1 --labels-file /etc/pictures.toml
    wait_for "three lines are outputs" are_outputs
    wait_for "a cat: the lamp is on" shows true false 1 0
    wait_for "a rocket: the gate is open" shows false true 0 1
    wait_for "dogs, neither: both are off" shows false false 0 0
    wait_for "a cat again" shows true false 1 0
    events '"label":"a cat","state":"enter"' || fail "no event"
    stop
    levels_are 0 1 0 || fail "stopped: levels are not safe"
    say "stopped: all levels are safe"
}

is_removed() { guest 'rmmod vivid 2>/dev/null; ! test -e /sys/module/vivid && ! test -e /dev/video0'; }

# The camera with everything around it.
runs_on() {
    start_broker
    begin "" --config $config
    wait_for "the camera is live" is_state live
    wait_for "the page is healthy" is_healthy
    [[ $(page /api/state) == *'"label":"bars"'* ]] || fail "the page's state has no labels"
    [ "$(curl -s -m 20 -o /dev/null -w '%{http_code}' "http://127.0.0.1:$page_port/api/state")" = 401 ] || fail "the page needs no token"
    wait_for "the broker knows that it is online" is_message availability online
    wait_for "the broker has its state" is_message state '"source_state":"live".*"label":"bars"'
    wait_for "the bars light the lamp" levels_are 1 0 1

    guest 'echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind'
    wait_for "the camera is taken away, and its module" is_removed
    wait_for "the camera is lost" is_state lost
    wait_for "levels are safe without it" levels_are 0 1 0
    wait_for "the broker knows that it is lost" is_message state '"source_state":"lost"'
    guest 'insmod /vivid.ko n_devs=1 node_types=0x1'
    wait_for "it is back by itself" is_state live
    wait_for "the lamp is on again" levels_are 1 0 1

    message labels/result 120 >"$work/result" &
    local result=$!
    message event 120 >"$work/event" &
    local event=$!
    sleep 1
    { label "a cat" lamp && bars stripes gate; } >"$work/other.toml"
    mosquitto_pub -h 127.0.0.1 -p "$broker_port" -t edgeclip/virtual/labels/set -f "$work/other.toml"
    wait "$result" && grep -q '"accepted":true,"origin":"mqtt"' "$work/result" || fail "the label set was not taken: $(<"$work/result")"
    wait_for "a label set over the network moves the gate instead" levels_are 0 1 1
    wait "$event" && grep -q '"label":"\(bars","state":"leave\|stripes","state":"enter\)"' "$work/event" || fail "no event over the network"
    say "events come over the network"

    kill "$broker" && wait "$broker" || true
    sleep 3
    is_healthy && is_state live || fail "without a broker it does not go on"
    start_broker
    wait_for "the broker was gone, and knows it again" is_message availability online
    wait_for "and its state" is_message state '"source_state":"live".*"label":"stripes"'
    stop
    levels_are 0 1 0 || fail "stopped: levels are not safe"
    [ "$(message availability)" = offline ] || fail "the broker was not told of the end"
    say "stopped: levels are safe, the broker is told"
}

armed() { [ "$(guest 'cat /sys/class/watchdog/watchdog0/state')" = "$1" ]; }
is_off() { ! runs "$machine"; }

# The last: the machine doesn't outlive it.
is_watched() {
    guest 'insmod /softdog.ko soft_margin=10'
    guest "printf 'device = \"/dev/watchdog\"\n' >>$config"
    begin "" --config $config
    wait_for "the camera is live" is_state live
    wait_for "the watchdog is armed" armed active
    sleep 25
    runs "$machine" && is_healthy || fail "fed, the watchdog resets"
    say "fed for 25 s with a time-out of 10, it is quiet"
    stop
    armed inactive || fail "stopped, the watchdog is armed"
    say "stopped, it is released"
    begin "" --config $config
    wait_for "the camera is live" is_state live
    guest 'echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind'
    wait_for "no frames: the watchdog resets the board" said 'Initiating system reboot'
    wait_for "the board is reset" is_off
}

# A Raspberry Pi 3B, without a network.
pi() { # disk-folder
    mapfile -t files < <(modules "$kernel" "$version" vivid)
    begin_disk "$1" "$kernel/bin/busybox" "${files[@]}"
    finish_disk "$1"
    printf '[labels]\nfile = "/etc/labels.toml"\n[gpio]\npin = [{ name = "lamp", line = 17 }, { name = "gate", line = 27, fail_safe = "on" }]\n' >"$1$config"
    { bars bars lamp && label "a cat" gate; } >"$1/etc/labels.toml"
}

# Levels of the lines 17 and 27: QEMU sets those of outputs alone.
pi_levels_are() { # lamp gate
    local levels=$(peek 0x3f200034)
    (((levels >> 17 & 1) == $1 && (levels >> 27 & 1) == $2))
}

is_a_pi() {
    pi_levels_are 0 0 || fail "levels before"
    begin "" --config $config --source v4l:/dev/video0
    wait_for "it is a Raspberry Pi 3B" logs "board auto: this is raspberry-pi-3b-plus"
    wait_for "the gate is open until frames come" pi_levels_are 0 1
    wait_for "the bars light the lamp" pi_levels_are 1 0
    guest 'echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind'
    wait_for "levels are safe without the camera" pi_levels_are 0 1
    guest 'echo vivid.0 >/sys/bus/platform/drivers/vivid/bind'
    wait_for "it is back by itself" pi_levels_are 1 0
    stop
    pi_levels_are 0 1 || fail "stopped: levels are not safe"
    say "stopped: levels are safe"
}

set_up
binary=${1:-}
if [ -z "$binary" ]; then
    .ci/aarch64.sh cargo build --release
    binary=${CARGO_TARGET_DIR:-target}/aarch64/aarch64-unknown-linux-gnu/release/edgeclip
fi
broker_port=$(free_port)
page_port=$(free_port)
virt "$work/virt"
start "$work/virt" ttyAMA0 -serial stdio -M virt -cpu cortex-a72 -m 768 -smp 2 -nic "user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:$page_port-:8780"
inspects
moves_pins
captures yuyv YUYV 1280 coloured
captures nv12 NV12 640 coloured
captures grey GREY 640 grey
captures yuyv YUYV 1280 coloured 54
captures nv12 NV12 640 coloured 54
captures grey GREY 640 grey 54
captures auto YUYV 1280 coloured
runs_on
is_watched

pi "$work/pi"
# Its first serial port is the one of Bluetooth.
start "$work/pi" "ttyS1,115200 iomem=relaxed" -serial null -serial stdio -M raspi3b -dtb "$kernel/usr/lib/linux-image-$version/broadcom/bcm2837-rpi-3-b.dtb"
is_a_pi
echo "all is well"
