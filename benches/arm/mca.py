#!/usr/bin/env python3
"""Cycles by llvm-mca: `mca.py BINARY` prints the multiply-accumulates a cycle of the int8 kernels' inner loops.

BINARY is a build of the bench `frames` with its symbols, as count.sh makes it. The loops are found in
its disassembly: the innermost ones that hold a product instruction.
"""

import json
import os
import re
import subprocess
import sys

# Multiply-accumulates of an instruction.
PRODUCTS = {"sdot": 16, "smmla": 32, "smull": 8, "smull2": 8, "smlal": 8, "smlal2": 8, "vpmaddwd": 16}
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
LLVM_MCA, LLVM_MC = (os.environ.get(name.upper().replace("-", "_"), f"{name}-22") for name in ("llvm-mca", "llvm-mc"))
# `hlt`.
HALT = {"aarch64": "200040d4", "x86_64": "f4"}
# Rounds of a loop that llvm-mca is asked for.
ROUNDS = 100
# A call is a jump: what it calls is counted where it is. Only the sum is of interest.
QUIET = ["-call-latency=1", "-instruction-info=0", "-resource-pressure=0"]


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def texts(codes, arch):
    """The assembler's text of instructions that are given as bytes in hexadecimal; "" where LLVM doesn't know one."""
    # Prefixes get lines of their own, and what is unknown gets none: a `hlt`, which no program has, ends each.
    lines = (" ".join(f"0x{byte:02x}" for byte in bytes.fromhex(code + HALT[arch])) for code in codes)
    features = ["-mattr=+all"] if arch == "aarch64" else []
    text = run(LLVM_MC, "-disassemble", f"-triple={arch}-linux-gnu", *features, input="\n".join(lines))
    found = re.split(r"\n?\thlt\b.*", text.replace("\t.text\n", ""))
    assert len(found) == len(codes) + 1, "an end for each instruction"
    return [" ".join(one.split()) for one in found[:-1]]


def functions(binary):
    """Names and instructions, `(address, text)`, of the kernels' functions."""
    for line in run("aarch64-linux-gnu-nm", "-CS", binary).splitlines():
        found = re.match(r"(\w+) (\w+) [tT] edgeclip::gemm::kernels::(\w+)::tile", line)
        if found and found[3] in ACCUMULATORS:
            start, size = int(found[1], 16), int(found[2], 16)
            listing = run("aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", f"--start-address={start}",
                          f"--stop-address={start + size}", binary)
            code = re.findall(r"^ +(\w+):\t(.*?)(?:\s+//.*)?$", listing, re.MULTILINE)
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


def cycles(bodies, cpu, arch="aarch64"):
    """Cycles of one round of each, were it a loop. What llvm-mca can't read is left out."""
    lines = []
    for at, body in enumerate(bodies):
        # Where a branch goes makes no difference.
        body = [re.sub(r"(\w+) <.*", "0b", text) for text in body]
        lines += [f"# LLVM-MCA-BEGIN {at}", "0:", *body, f"# LLVM-MCA-END {at}"]
    features = ["-mattr=+dotprod,+i8mm"] if arch == "aarch64" else []
    report = run(LLVM_MCA, f"-mtriple={arch}-linux-gnu", f"-mcpu={cpu}", *features,
                 f"-iterations={ROUNDS}", *QUIET, "-skip-unsupported-instructions=any", "-json", input="\n".join(lines) + "\n")
    regions = json.loads(report)["CodeRegions"]
    took = {int(region["Name"]): region["SummaryView"]["TotalCycles"] / ROUNDS for region in regions if "SummaryView" in region}
    return [took.get(at, 0) for at in range(len(bodies))]


def table(found):
    """A table of some loops, for each CPU."""
    print("| CPU model | kernel | rows | instructions | MAC | cycles | MAC a cycle | of the most | asked |")
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|")
    for cpu, kernel, most, asked in CPUS:
        rows_of = sorted(item for item in found.items() if item[0][0] == kernel)
        took_of = cycles([body for _, (_, _, body) in rows_of], cpu)
        for ((_, rows), (_, _, body)), took in zip(rows_of, took_of):
            rate = macs(body) / took
            print(f"| {cpu} | {kernel} | {rows} | {len(body)} | {macs(body)} | {took:.1f} | {rate:.1f} | "
                  f"{rate / most:.0%} of {most} | {f'{asked:.0%}' if asked else ''} |")


if __name__ == "__main__":
    table(loops(sys.argv[1]))
