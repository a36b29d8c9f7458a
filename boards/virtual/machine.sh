# A virtual board as seen from outside: its console, its registers, and the broker beside it.
# One at a time; everything of it lies in $work.

say() { echo "$*"; }
fail() {
    echo "FAILED: $*" >&2
    [ -z "${failed:-}" ] || exit 1
    failed=1
    [ ! -e "$work/console" ] || sed '/^<</d' "$work/console" | tail -n 30 >&2
    ! runs "$machine" || { echo "what edgeclip said:" && guest 'tail -n 30 /tmp/log; tail -n 5 /tmp/events'; } >&2
    exit 1
}
runs() { [ -n "${1:-}" ] && kill -0 "$1" 2>/dev/null; }
free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)) && (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
    echo $port
}

# Its first program obeys lines of the console, each with a name that its answer is found by.
finish_disk() { # folder
    mkdir -p "$1/lib" "$1/tmp" "$1/etc" "$1/var/lib"
    cp -L /usr/aarch64-linux-gnu/lib/{ld-linux-aarch64.so.1,libc.so.6,libm.so.6,libgcc_s.so.1} "$1/lib/"
    cp "$binary" "$1/bin/edgeclip"
    cp -r "$pictures" "$1/images"
    cat >>"$1/init" <<'END'
/bin/busybox --install -s /bin
export PATH=/bin EDGECLIP_LOG=warn,edgeclip=debug
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0 && ip link set eth0 up && ip route add default via 10.0.2.2
stty -echo
echo "<<ready 0"
while read -r name line; do
    (eval "$line") 2>&1
    echo "<<$name $?"
done
END
}

# Only what is critical is written between the answers: softdog's last words are.
start() { # disk-folder console qemu-argument...
    rm -f "$work"/{keys,console,monitor.*}
    mkfifo "$work"/{keys,monitor.in,monitor.out}
    exec 4<>"$work/keys" 5<>"$work/monitor.in" 6<>"$work/monitor.out"
    pack_disk "$1" >"$work/disk.cpio"
    qemu-system-aarch64 -display none -no-reboot -chardev "pipe,id=monitor,path=$work/monitor" -mon monitor \
        -kernel "$kernel/boot/vmlinuz-$version" -initrd "$work/disk.cpio" -append "console=$2 panic=-1 loglevel=3" "${@:3}" \
        <"$work/keys" >"$work/console" 2>&1 &
    machine=$!
    wait_for "the kernel is up" said '^<<ready'
}
said() { grep -aqs "$1" "$work/console"; }

# What a command says there, with its exit status; a minute at most.
guest() { # command
    local name=$RANDOM$RANDOM from round status
    from=$(stat -c %s "$work/console")
    echo "$name $1" >&4
    for ((round = 0; round < 600; round++)); do
        status=$(tail -c "+$((from + 1))" "$work/console" | tr -d '\r' | grep -a "^<<$name ") && break || status=
        runs "$machine" || break
        sleep 0.1
    done
    [ -n "$status" ] || fail "no answer to $1"
    tail -c "+$((from + 1))" "$work/console" | tr -d '\r' | sed '/^<</d'
    return "${status##* }"
}

# A word of its memory, registers included, as QEMU sees it.
peek() { # address
    local line
    echo "xp /1wx $1" >&5
    while IFS=$'\r' read -r -t 10 -u 6 line; do
        case $line in [0-9a-f]*": 0x"*) echo $((${line##*: })) && return ;; esac
    done
    return 1
}

# edgeclip there, with its outcome in /tmp/rc.
begin() { # environment argument...
    guest "cd /tmp; rm -f rc log events; ($1 edgeclip run --board auto ${*:2} >events 2>log; echo \$? >rc) </dev/null &"
}
logs() { guest "grep -q '$1' /tmp/log"; }
events() { guest "grep -q '$1' /tmp/events"; }
ended() { guest 'test -e /tmp/rc'; }
stop() {
    local status
    status=$(guest 'killall edgeclip; for t in 1 2 3 4 5 6 7 8 9 10; do [ -e /tmp/rc ] && break; sleep 0.5; done; cat /tmp/rc')
    [ "$status" = 0 ] || fail "SIGTERM: not ended with 0 within 5 s: $status"
}

page() { # path curl-argument...
    curl -sS -m 20 -H "Authorization: Bearer $token" "${@:2}" "http://127.0.0.1:$page_port$1"
}
is_state() { [[ $(page /api/state 2>/dev/null) == *"\"source_state\":\"$1\""* ]]; }
is_healthy() { page /healthz -f -o /dev/null 2>/dev/null; }

start_broker() {
    printf 'listener %s 127.0.0.1\nallow_anonymous true\n' "$broker_port" >"$work/mosquitto.conf"
    mosquitto -c "$work/mosquitto.conf" >"$work/mosquitto.log" 2>&1 &
    broker=$!
}
# The next message.
message() { # topic
    mosquitto_sub -h 127.0.0.1 -p "$broker_port" -t "edgeclip/virtual/$1" -C 1 -W "${2:-5}" 2>/dev/null || true
}
is_message() { # topic pattern
    grep -q "$2" <<<"$(message "$1")"
}
