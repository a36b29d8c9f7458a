#!/usr/bin/env python3
"""Measures on this machine what estimate.py predicts for it, and writes check.csv: `check.py FOLDER [ROUNDS]`.

FOLDER has the models, as count.sh leaves them. Each round takes every model with one thread and with two, in a new order;
a time is the median over the rounds of what a tenth of a round's frames were faster than. Leave the machine alone for some
minutes; where it can't be, `chrt -r 10 boards/estimate/check.py ..` takes the cores for it.
"""

import csv
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile

from estimate import HERE, HOST, HOST_KERNEL, cycles, table

ROUNDS = 5
THREADS = (1, 2)
# Of one measurement: about so many cycles, and no fewer frames than that.
CYCLES, FRAMES_MIN = 2e9, 5


def answer(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main():
    folder = pathlib.Path(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    program = HERE.parents[1] / "target/release/edgeclip"
    rows = [row for row in table("counts.csv") if row["cpu"] == HOST]
    times = {(row["model"], threads): [] for row in rows for threads in THREADS}
    clocks = {key: [] for key in times}
    frames = {row["model"]: max(FRAMES_MIN, int(CYCLES / cycles(row))) for row in rows}
    with tempfile.TemporaryDirectory() as scratch:
        clock = f"{scratch}/clock"
        answer("cc", "-O2", "-o", clock, HERE / "clock.c")
        for number in range(rounds):
            for model, threads in random.Random(number).sample(list(times), len(times)):
                clocks[model, threads].append(float(answer(clock)))
                said = json.loads(answer(program, "bench", "--model", folder / model, "--kernel", HOST_KERNEL, "--json",
                                         "--threads", str(threads), "--frames", str(frames[model])))
                times[model, threads].append(said["encode_ms"]["p10"])
                print(number, model, threads, times[model, threads][-1], clocks[model, threads][-1], file=sys.stderr)
    part = HERE / "check.csv.part"
    with part.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("model", "threads", "ms", "ghz"))
        for (model, threads), each in times.items():
            writer.writerow((model, threads, f"{statistics.median(each):.3f}", f"{statistics.median(clocks[model, threads]):.3f}"))
        file.flush()
        os.fsync(file.fileno())
    part.rename(HERE / "check.csv")


if __name__ == "__main__":
    main()
