# What the scripts share that boot a virtual machine: Debian's kernel, a memory disk with busybox and modules, and waiting.

# Files of modules and of what they need, in order.
modules() { # folder version module...
    local module
    for module in "${@:3}"; do modprobe -d "$1" -S "$2" --show-depends "$module"; done |
        sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++'
}

# The folder of a memory disk, with a first program to be gone on with: the kernel's file systems are there, and the
# modules. The camera is vivid's.
begin_disk() { # folder busybox module-file...
    local disk=$1 busybox=$2 module
    shift 2
    mkdir -p "$disk/bin" "$disk/proc" "$disk/sys" "$disk/dev"
    cp "$busybox" "$disk/bin/busybox"
    cp "$@" "$disk/"
    {
        echo '#!/bin/busybox sh'
        echo 'for fs in proc:proc sysfs:sys devtmpfs:dev; do /bin/busybox mount -t ${fs%:*} none /${fs#*:}; done'
        for module in "$@"; do
            case $module in *vivid.ko*) echo "/bin/busybox insmod /${module##*/} n_devs=1 node_types=0x1" ;; *) echo "/bin/busybox insmod /${module##*/}" ;; esac
        done
    } >"$disk/init"
    chmod 755 "$disk/init"
}

# The disk as the kernel reads it.
pack_disk() { # folder
    (cd "$1" && find . | busybox cpio -o -H newc 2>/dev/null)
}

# An emulated machine is slow: what must come comes within three minutes.
wait_for() { # what command...
    local what=$1 until=$((SECONDS + 180))
    shift
    while ((SECONDS < until)); do
        "$@" && say "$what" && return
        sleep 1
    done
    fail "$what"
}
