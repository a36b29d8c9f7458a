#!/usr/bin/env bash
# What boards/deb/check.sh has done in its virtual machine, as root, under systemd: first with the root writable, then
# with it read-only, as boards/README.md describes it.
set -uo pipefail
exec >/dev/ttyS0 2>&1 </dev/null
export DEBIAN_FRONTEND=noninteractive
unit=edgeclip.service
pictures=/opt/images
. /opt/machine.sh

say() { echo "inside: $*"; }
end() {
    sync
    systemctl poweroff --force --force
}
fail() {
    say "FAILED: $*"
    systemctl status --no-pager --lines 0 $unit
    journalctl --no-pager --lines 40 --unit $unit
    end
    exit 1
}
show() { systemctl show --property "$1" --value $unit; }
is_live() { [[ $(show StatusText) == *"$1 is live"* ]]; }
said() { journalctl --quiet --no-pager --unit $unit --grep "$1" | grep -q .; }
fed_since() { (($(show WatchdogTimestampMonotonic) > $1)); }
other_process() { [ "$(show ActiveState)" = active ] && [ "$(show MainPID)" != "$1" ]; }
request() { # method path body
    exec 3<>/dev/tcp/127.0.0.1/8780
    printf '%s %s HTTP/1.1\r\nHost: 127.0.0.1:8780\r\nContent-Type: text/plain\r\nContent-Length: %s\r\nConnection: close\r\n\r\n%s' "$1" "$2" ${#3} "$3" >&3
    cat <&3
    exec 3>&-
}
answers() { request GET /healthz "" | head -n 1 | grep -q ' 200 '; }
kept() { edgeclip labels list --state-dir /var/lib/edgeclip | grep -q 'a lamp, a red circle'; }

restart() { systemctl restart $unit || fail "restart"; }
stop() {
    systemctl stop $unit
    [ "$(show Result)" = success ] || fail "stopped: $(show Result)"
    said 'State .* timed out' && fail "a stop took longer than 5 s"
    say "stopped cleanly"
}

writable() {
    # As the package says, and as it comes: the camera is vivid's.
    wait_for "a camera is there" test -e /dev/video0
    say "$(ls -l /dev/video0)"
    printf 'a cat\na rocket\n' >/etc/edgeclip/labels.txt
    systemctl enable --now $unit || fail "enable --now"
    [ "$(show ActiveState)" = active ] || fail "not active"
    wait_for "the camera is live" is_live video0
    wait_for "the page answers" answers
    fed=$(show WatchdogTimestampMonotonic)
    wait_for "the watchdog is fed" fed_since "$fed"
    stop

    printf '[source]\nurl = "dir:%s"\nrepeat = true\npace = "realtime"\nfps = 5\n[labels]\nfile = "/etc/edgeclip/labels.txt"\n[decide]\nenter = 0.5\ndwell_ms = 0\n' $pictures >/etc/edgeclip/config.toml
    systemctl start $unit || fail "start"
    wait_for "the folder is live" is_live images
    wait_for "events are in the journal" said '"state":"enter"'
    process=$(show MainPID)
    kill -9 "$process"
    wait_for "killed, it is back" other_process "$process"

    # An update of the program is a rename, and so is one of the model.
    process=$(show MainPID)
    cp /usr/bin/edgeclip /usr/bin/edgeclip.new && mv /usr/bin/edgeclip.new /usr/bin/edgeclip
    mkdir -p /usr/local/share/edgeclip
    edgeclip model pack /usr/local/share/edgeclip/clip.eclip || fail "pack"
    printf '[model]\npath = "/usr/local/share/edgeclip/clip.eclip"\n' >>/etc/edgeclip/config.toml
    [ "$(show MainPID)" = "$process" ] || fail "a rename has ended it"
    restart
    wait_for "the new program runs, with a packed model" is_live images
    process=$(show MainPID)
    cp /usr/local/share/edgeclip/clip.eclip /usr/local/share/edgeclip/new.eclip
    mv /usr/local/share/edgeclip/new.eclip /usr/local/share/edgeclip/clip.eclip
    sleep 5
    [ "$(show MainPID)" = "$process" ] && [ "$(show ActiveState)" = active ] || fail "a rename has ended it"
    say "it goes on while its model is replaced"
    restart
    wait_for "the new model is in use" is_live images

    # An upgrade restarts what runs; a removal stops it.
    process=$(show MainPID)
    dpkg --force-confold --install /opt/next.deb || fail "upgrade"
    wait_for "the upgrade has restarted it" other_process "$process"
    dpkg --remove edgeclip || fail "removal"
    [ "$(show ActiveState)" = inactive ] || fail "removed, it still runs"
    dpkg --force-confold --install /opt/next.deb || fail "installation"
    [ "$(systemctl is-enabled $unit)" = enabled ] || fail "not enabled any more"
    [ "$(show ActiveState)" = inactive ] || fail "installed, it was started"
    say "removed and installed again"
    systemctl start $unit || fail "start"
    wait_for "the folder is live" is_live images
    stop

    # The recipe for a read-only root.
    cat >>/etc/fstab <<END
/dev/vda        /                          ext4   ro,noatime                 0 1
LABEL=edgeclip  /var/lib/private/edgeclip  ext4   rw,noatime,nofail          0 2
tmpfs           /tmp                       tmpfs  nosuid,nodev,size=64m      0 0
tmpfs           /var/tmp                   tmpfs  nosuid,nodev,size=64m      0 0
tmpfs           /var/log                   tmpfs  nosuid,nodev,size=64m      0 0
END
}

read_only() {
    touch /root/written 2>/dev/null && fail "the root is not read-only"
    # Enabled, so it runs by itself.
    wait_for "it runs on a read-only root" is_live images
    [ "$(show NRestarts)" = 0 ] || fail "not at the first try"
    mountpoint -q /var/lib/private/edgeclip || fail "the state has no partition"
    wait_for "the page answers" answers
    request PUT /api/labels $'a lamp\na red circle\n' | head -n 1
    wait_for "labels are kept on their partition" kept
    restart
    wait_for "it starts again" is_live images
    kept || fail "the labels are lost"
    stop

    # A purge empties the partition, which stays where it is.
    mount -o remount,rw /
    dpkg --purge edgeclip || fail "purge"
    mountpoint -q /var/lib/private/edgeclip || fail "the partition was unmounted"
    [ -z "$(find /var/lib/private/edgeclip -mindepth 1 ! -name lost+found)" ] || fail "purged, its state is still there"
    say "purged with its partition mounted"
}

trap 'fail "line $LINENO"' ERR
if grep -q root_mode=ro /proc/cmdline; then read_only; else writable; fi
say "all is well"
end
