# What count.sh and boards/estimate/count.sh share: a program, and how its instructions are counted.

# Builds the bench `frames` and prints its path: with its symbols, and otherwise as it is released, since the flag
# goes to the last link alone. Arguments come before cargo.
build_frames() {
    "$@" cargo rustc --profile bench --bench frames --no-default-features --message-format=json-render-diagnostics -- -C strip=none |
        sed -n 's/.*"executable":"\([^"]*frames-[^"]*\)".*/\1/p'
}

# Runs a program and writes what of it ran how often, unless the file is there already. The words FRAMES
# become a number.
emulate() { # file.number architecture cpu sysroot command...
    local file=$1 arch=$2 cpu=$3 sysroot=$4
    shift 4
    [ -s "$file" ] && return
    echo "$file" >&2
    env -i PYTHONHOME="$prefix/rival/sys/usr" PYTHONPATH="$prefix/rival/site" PYTHONHASHSEED=0 \
        PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1 \
        setarch -R "$prefix/emulators/qemu-$arch" -seed 1 -cpu "$cpu" -L "$sysroot" \
        -plugin "$prefix/blocks.so" -d plugin -D "$file.part" "${@//FRAMES/${file##*.}}" >&2
    mv "$file.part" "$file"
}
