#!/usr/bin/env python3
"""Tables of what count.sh has counted: `report.py COUNTS_DIR` prints results.md."""

import bisect
import collections
import pathlib
import re
import subprocess
import sys

import blocks
import mca

# CPU, edgeclip's kernel there, most instructions that a frame of ViT-B/32 may take.
CPUS = [("neoverse-n1", "dotprod", 390e6), ("neoverse-v1", "i8mm", 250e6), ("cortex-a72", "neon", 1100e6)]
# Of the 32-bit program.
CPU32, KERNELS32 = "cortex-a7", ("neon", "scalar")


def frame(counts, name):
    """How often each block runs in one frame."""
    return blocks.frame(counts / f"{name}.1", counts / f"{name}.4", 3)


def symbols(program):
    """Addresses and names of its functions, in order."""
    listing = subprocess.run(["aarch64-linux-gnu-nm", "-C", program], check=True, capture_output=True, text=True)
    return sorted((int(at, 16), name) for at, name in re.findall(r"^(\w+) [tTwW] (.*)$", listing.stdout, re.MULTILINE))


def parts(times, program, loops):
    """Instructions of each function, the products' loops apart."""
    functions = symbols(program)
    inside = {at for first, end, _ in loops.values() for at in range(first, end, 4)}
    sums = collections.Counter()
    for block, runs in times.items():
        for at in blocks.addresses(block):
            if block[0] != program:
                sums[pathlib.Path(block[0]).name] += runs
            elif at in inside:
                sums["the products' inner loops"] += runs
            else:
                address, name = functions[bisect.bisect(functions, (at, chr(sys.maxunicode))) - 1]
                # Closures and generic functions share names: their addresses tell them apart.
                sums[f"`{name}` at {address:x}"] += runs
    return sums


def rounds(times, program, end):
    """How often the last instruction before `end` runs."""
    ends = (runs for block, runs in times.items() if block[0] == program and end - 4 in blocks.addresses(block))
    return sum(ends)


def main():
    counts = pathlib.Path(sys.argv[1]).resolve()
    program = str(counts / "frames")
    loops = mca.loops(program)
    ours = {cpu: frame(counts, f"edgeclip.{cpu}.{kernel}") for cpu, kernel, _ in CPUS}

    commit = (counts / "commit").read_text().strip()
    print(f"# Counts at {commit}\n")
    print("ViT-B/32's image tower at 224 pixels, random weights, one frame on one thread; see README.md for what "
          "these numbers are.\n\n## Instructions of one frame, in millions\n")
    print("| emulated CPU | kernel | edgeclip | budget | of it in the products' loops | ONNX Runtime |")
    print("|---|---|--:|--:|--:|--:|")
    for cpu, kernel, budget in CPUS:
        total, inner = blocks.total(ours[cpu]), parts(ours[cpu], program, loops)["the products' inner loops"]
        rival = blocks.total(frame(counts, f"onnxruntime.{cpu}"))
        print(f"| {cpu} | {kernel} | {total / 1e6:.1f} | {budget / 1e6:.0f} | {inner / 1e6:.1f} | {rival / 1e6:.1f} |")
    for kernel in KERNELS32:
        total = blocks.total(frame(counts, f"edgeclip.{CPU32}.{kernel}"))
        print(f"| {CPU32}, 32 bits | {kernel} | {total / 1e6:.1f} | | | |")

    print("\n## Inner loops of the tiles that a frame uses, by llvm-mca\n")
    used = {}
    for (kernel, rows), loop in loops.items():
        cpu = next(cpu for cpu, its, _ in CPUS if its == kernel)
        # Without the single row of the last product.
        if rounds(ours[cpu], program, loop[1]) * mca.macs(loop[2]) > 1e7:
            used[kernel, rows] = loop
    mca.table(used)

    for cpu, kernel, _ in CPUS:
        print(f"\n## Where the instructions go, on {cpu} with {kernel}\n\n| M | function |\n|--:|---|")
        for name, count in parts(ours[cpu], program, loops).most_common(16):
            print(f"| {count / 1e6:.2f} | {name} |")


if __name__ == "__main__":
    main()
