#!/usr/bin/env python3
"""Inner loops of the int8 kernels under llvm-mca: `mca.py BINARY` prints multiply-accumulates a cycle.

BINARY is a build of the bench `frames` with its symbols, as count.sh makes it. The loops are found in
its disassembly: the innermost ones that hold a product instruction.
"""

import os
import re
import subprocess
import sys

# Multiply-accumulates of an instruction.
PRODUCTS = {"sdot": 16, "smmla": 32, "smull": 8, "smull2": 8, "smlal": 8, "smlal2": 8}
# What adds to a kernel's accumulators, and how many of them belong to one row of a tile.
ACCUMULATORS = {"dotprod": ("sdot", 2), "i8mm": ("smmla", 2), "neon": ("sadalp", 4)}
# CPU model, kernel, most MAC a cycle, share of them that is asked for. The most are the product
# instructions that LLVM's model starts in a cycle, times their MAC; A53 is held to A72's.
CPUS = [
    # A76 is N1's twin; LLVM's own "cortex-a76" is the model of a Cortex-A57.
    ("neoverse-n1", "dotprod", 2 * 16, 0.85),
    ("cortex-a55", "dotprod", 1 * 16, 0.65),
    ("neoverse-v1", "i8mm", 4 * 32, None),
    ("cortex-a72", "neon", 1 * 8, 0.85),
    ("cortex-a53", "neon", 1 * 8, None),
]


def functions(binary):
    """Names and instructions, `(address, text)`, of the kernels' functions."""
    symbols = subprocess.run(["aarch64-linux-gnu-nm", "-CS", binary], check=True, capture_output=True, text=True)
    for line in symbols.stdout.splitlines():
        found = re.match(r"(\w+) (\w+) [tT] edgeclip::gemm::kernels::(\w+)::tile", line)
        if found and found[3] in ACCUMULATORS:
            start, size = int(found[1], 16), int(found[2], 16)
            listing = subprocess.run(
                ["aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", f"--start-address={start}",
                 f"--stop-address={start + size}", binary], check=True, capture_output=True, text=True)
            code = re.findall(r"^ +(\w+):\t(.*?)(?:\s+//.*)?$", listing.stdout, re.MULTILINE)
            yield found[3], [(int(address, 16), text) for address, text in code]


def loops(binary):
    """The loop of each kernel and height: `{(kernel, height): (first address, end, instructions)}`."""
    found, densest = {}, {}
    for kernel, code in functions(binary):
        product, each = ACCUMULATORS[kernel]
        start = code[0][0]
        where = {address: at for at, (address, _) in enumerate(code)}
        for at, (address, text) in enumerate(code):
            branch = re.match(r"(?:b\.\w+|cbn?z\s+\w+,|tbn?z\s+\w+, #\w+,)\s*(\w+) <", text)
            if not branch or not start <= int(branch[1], 16) <= address:
                continue
            first = where[int(branch[1], 16)]
            body = [text for _, text in code[first:at + 1]]
            accumulators = {text.split()[1] for text in body if text.split()[0] == product}
            key = kernel, len(accumulators) // each
            # Not every branch back is a loop's, nor every loop the innermost: that is the densest.
            density = macs(body) / len(body)
            if accumulators and density > densest.get(key, 0):
                densest[key] = density
                found[key] = code[first][0], code[at][0] + 4, body
    return found


def macs(body):
    """Multiply-accumulates of one round of a loop."""
    return sum(PRODUCTS.get(text.split()[0], 0) for text in body)


def cycles(body, cpu):
    """Cycles of one round."""
    lines = [re.sub(r"(\w+) <.*", "0b", text) for text in body]
    rounds = 100
    report = subprocess.run(
        [os.environ.get("LLVM_MCA", "llvm-mca-22"), "-mtriple=aarch64-linux-gnu", f"-mcpu={cpu}",
         "-mattr=+dotprod,+i8mm", f"-iterations={rounds}", "-instruction-info=0", "-resource-pressure=0"],
        input="0:\n" + "\n".join(lines) + "\n", check=True, capture_output=True, text=True)
    return int(re.search(r"Total Cycles: +(\d+)", report.stdout)[1]) / rounds


def table(found):
    """A table of some loops, for each CPU."""
    print("| CPU model | kernel | rows | instructions | MAC | cycles | MAC a cycle | of the most | asked |")
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|")
    for cpu, kernel, most, asked in CPUS:
        for (_, rows), (_, _, body) in sorted(item for item in found.items() if item[0][0] == kernel):
            took = cycles(body, cpu)
            rate = macs(body) / took
            print(f"| {cpu} | {kernel} | {rows} | {len(body)} | {macs(body)} | {took:.1f} | {rate:.1f} | "
                  f"{rate / most:.0%} of {most} | {f'{asked:.0%}' if asked else ''} |")


if __name__ == "__main__":
    table(loops(sys.argv[1]))
