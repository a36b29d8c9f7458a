#!/usr/bin/env python3
"""counts.csv of what count.sh has counted: `counts.py FOLDER`. Each kind of CPU that a kernel is for gets a row.

Cycles are llvm-mca's of each block of code that ran, as if it were a loop: ports, latencies and widths of the CPU,
every load from the first cache, every branch foreseen.
"""

import csv
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "benches/arm"))
import blocks
import mca

# The models of CPUs in LLVM that each kernel's blocks are held against.
CPUS = {
    "neon": ("cortex-a53", "cortex-a72"),
    "dotprod": ("cortex-a55", "neoverse-n1"),
    "i8mm": ("neoverse-v1",),
    "avx2": ("znver5",),
}
COLUMNS = ("model", "weights", "kernel", "cpu", "product_instructions", "other_instructions", "product_cycles", "other_cycles", "commit")
# Share of a frame's instructions whose blocks go to llvm-mca, the most frequent first: the rest, thousands of
# blocks, gets the rate of those that are not of products.
COVERED = 0.995


def is_product(texts):
    """Whether a block is of a product's loop: it has the kernel's multiplications, of vectors."""
    words = (text.split() for text in texts)
    return any(word and word[0] in mca.PRODUCTS and word[1][0] in "v%" for word in words)


def rows(times, arch, cpus):
    """For each CPU: instructions in the products' loops and elsewhere, cycles in them and elsewhere."""
    codes = sorted({code for _, _, block in times for code in block})
    text = dict(zip(codes, mca.texts(codes, arch)))
    bodies = {block: [text[code] for code in block[2] if text[code]] for block in times}
    products = {block for block in times if is_product(bodies[block])}
    instructions = [sum(len(block[2]) * runs for block, runs in times.items() if (block in products) == inside) for inside in (True, False)]
    often, covered = [], 0
    for block in sorted(times, key=lambda block: -len(block[2]) * times[block]):
        if covered < COVERED * sum(instructions):
            often.append(block)
            covered += len(block[2]) * times[block]
    others_covered = sum(len(block[2]) * times[block] for block in often if block not in products)
    for cpu in cpus:
        took = dict(zip(often, mca.cycles([bodies[block] for block in often], cpu, arch)))
        cycles = [sum(took[block] * times[block] for block in often if (block in products) == inside) for inside in (True, False)]
        cycles[1] *= instructions[1] / others_covered
        yield cpu, instructions + cycles


def main():
    folder = pathlib.Path(sys.argv[1])
    commit = (folder / "commit").read_text().strip()
    found = []
    for few in folder.glob("*.1"):
        model, arch, kernel, _ = few.name.rsplit(".", 3)
        more = few.with_suffix(".2")
        if not more.exists():
            continue
        weights = int((folder / f"{model}.weights").read_text())
        for cpu, figures in rows(blocks.frame(few, more, 1), arch, CPUS[kernel]):
            found.append([model, weights, kernel, cpu, *(round(figure) for figure in figures), commit])
            print(*found[-1], file=sys.stderr)
    found.sort(key=lambda row: (row[1], row[0], list(CPUS).index(row[2]), row[3]))
    part = HERE / "counts.csv.part"
    with part.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(found)
        file.flush()
        os.fsync(file.fileno())
    part.rename(HERE / "counts.csv")


if __name__ == "__main__":
    main()
