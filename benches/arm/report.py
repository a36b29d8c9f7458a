#!/usr/bin/env python3
"""Tables of what count.sh has counted: `report.py COUNTS_DIR` prints results.md."""

import bisect
import collections
import pathlib
import re
import subprocess
import sys

import mca

# CPU, edgeclip's kernel there, most instructions that a frame of ViT-B/32 may take.
CPUS = [("neoverse-n1", "dotprod", 390e6), ("neoverse-v1", "i8mm", 250e6), ("cortex-a72", "neon", 1100e6)]
# Board, CPU whose counts and model stand for it, cores, clock, bytes a second from memory, budget in ms.
# Cores, clocks and memory: the product briefs (32 bits of LPDDR4X-4267 and of LPDDR4-3200). Of that,
# STREAM gets 43 % on a Pi 4 (5.5 GB/s, https://www.sci-pi.org.uk/bench/stream.html); the same is assumed
# of a Pi 5.
BOARDS = [
    ("Raspberry Pi 5 (4 x A76)", "neoverse-n1", 4, 2.4e9, 0.43 * 4 * 4267e6, 25),
    ("Raspberry Pi 4 (4 x A72)", "cortex-a72", 4, 1.8e9, 0.43 * 4 * 3200e6, 120),
]
# Assumptions: what four threads keep of four times the speed of one, and instructions a cycle outside of
# the products' loops (both CPUs can do three or more).
SCALING = 0.9
PER_CYCLE = 2


def read(path):
    """How often each instruction ran: `{(file, address in it): times}`."""
    maps, blocks = path.read_text().split("\n\n", 1)
    mapped = []
    for line in maps.splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and fields[5].startswith("/"):
            first, end = (int(address, 16) for address in fields[0].split("-"))
            mapped.append((first, end, int(fields[2], 16), fields[5]))
    mapped.sort()
    base = {}
    for first, _, offset, file in mapped:
        base.setdefault(file, first - offset)
    times = collections.Counter()
    for line in blocks.splitlines():
        address, instructions, runs = line.split()
        address = int(address, 16)
        at = bisect.bisect(mapped, (address, sys.maxsize)) - 1
        file = mapped[at][3] if at >= 0 and address < mapped[at][1] else ""
        for place in range(int(instructions)):
            times[file, address - base.get(file, 0) + 4 * place] += int(runs)
    return times


def frame(counts, name):
    """How often each instruction runs in one frame."""
    one, four = (read(counts / f"{name}.{frames}") for frames in (1, 4))
    return {where: (four[where] - one[where]) / 3 for where in one | four if four[where] != one[where]}


def symbols(program):
    """Addresses and names of its functions, in order."""
    listing = subprocess.run(["aarch64-linux-gnu-nm", "-C", program], check=True, capture_output=True, text=True)
    return sorted((int(at, 16), name) for at, name in re.findall(r"^(\w+) [tTwW] (.*)$", listing.stdout, re.MULTILINE))


def parts(times, program, loops):
    """Instructions of each function, the products' loops apart."""
    functions = symbols(program)
    inside = {at for first, end, _ in loops.values() for at in range(first, end, 4)}
    sums = collections.Counter()
    for (file, at), count in times.items():
        if file != program:
            sums[pathlib.Path(file).name] += count
        elif at in inside:
            sums["the products' inner loops"] += count
        else:
            address, name = functions[bisect.bisect(functions, (at, chr(sys.maxunicode))) - 1]
            # Closures and generic functions share names: their addresses tell them apart.
            sums[f"`{name}` at {address:x}"] += count
    return sums


def main():
    counts = pathlib.Path(sys.argv[1]).resolve()
    program = str(counts / "frames")
    loops = mca.loops(program)
    weights = int((counts / "float-bytes").read_text()) / 4
    ours = {cpu: frame(counts, f"edgeclip.{cpu}.{kernel}") for cpu, kernel, _ in CPUS}

    commit = (counts / "commit").read_text().strip()
    print(f"# Counts and estimates at {commit}\n")
    print("ViT-B/32's image tower at 224 pixels, random weights, one frame on one thread; see README.md for what "
          "these numbers are.\n\n## Instructions of one frame, in millions\n")
    print("| emulated CPU | kernel | edgeclip | budget | of it in the products' loops | ONNX Runtime |")
    print("|---|---|--:|--:|--:|--:|")
    for cpu, kernel, budget in CPUS:
        total, inner = sum(ours[cpu].values()), parts(ours[cpu], program, loops)["the products' inner loops"]
        rival = sum(frame(counts, f"onnxruntime.{cpu}").values())
        print(f"| {cpu} | {kernel} | {total / 1e6:.1f} | {budget / 1e6:.0f} | {inner / 1e6:.1f} | {rival / 1e6:.1f} |")

    rounds = {}
    for (kernel, rows), (_, end, _) in loops.items():
        cpu = next(cpu for cpu, its, _ in CPUS if its == kernel)
        rounds[kernel, rows] = ours[cpu].get((program, end - 4), 0)
    print("\n## Inner loops of the tiles that a frame uses, by llvm-mca\n")
    # Without the single row of the last product.
    mca.table({key: loop for key, loop in loops.items() if rounds[key] * mca.macs(loop[2]) > 1e7})

    print("\n## Estimated time of a frame\n")
    print("| board | Mcycles in the loops | M other instructions | ms to compute | ms to load the weights | ms | budget |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for board, cpu, cores, clock, bandwidth, budget in BOARDS:
        kernel = next(kernel for its, kernel, _ in CPUS if its == cpu)
        cycles = sum(rounds[key] * mca.cycles(loop[2], cpu) for key, loop in loops.items() if key[0] == kernel)
        others = sum(ours[cpu].values()) - parts(ours[cpu], program, loops)["the products' inner loops"]
        compute = (cycles + others / PER_CYCLE) / (SCALING * cores * clock) * 1e3
        load = weights / bandwidth * 1e3
        print(f"| {board} | {cycles / 1e6:.1f} | {others / 1e6:.1f} | {compute:.1f} | {load:.1f} | "
              f"**{max(compute, load):.1f}** | {budget} |")

    for cpu, kernel, _ in CPUS:
        print(f"\n## Where the instructions go, on {cpu} with {kernel}\n\n| M | function |\n|--:|---|")
        for name, count in parts(ours[cpu], program, loops).most_common(16):
            print(f"| {count / 1e6:.2f} | {name} |")


if __name__ == "__main__":
    main()
