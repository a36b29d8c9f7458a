#!/usr/bin/env python3
"""Milliseconds a frame of each model on each board: `estimate.py` prints results.md. Predictions, not measurements.

    ms = max(compute, load)
    compute = cycles / clock x (1 - PARALLEL + PARALLEL / cores)
    load = weights / (REACHED x bandwidth)

Cycles are those of counts.csv; cores, clock and bandwidth those of the board's profile. PARALLEL, the share of a frame that
threads divide among them, comes from one model in check.csv, where one and two threads were measured.
"""

import csv
import pathlib
import re
import statistics
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
# The model of LLVM that stands for a core. An A57 is the model that LLVM gives an A72; N1 is A76's twin, and LLVM's own
# "cortex-a76" and "cortex-a78ae" are that of an A57. An A78AE should be a little faster than an A76 at the same clock.
STANDS_FOR = {
    "Cortex-A53": "cortex-a53", "Cortex-A55": "cortex-a55", "Cortex-A57": "cortex-a72", "Cortex-A72": "cortex-a72",
    "Cortex-A76": "neoverse-n1", "Cortex-A78AE": "neoverse-n1",
}
# What a profile leaves to the variant, of the slowest: Jetson Orin Nano 4 GB, cores and GHz by the page that the profile names.
VARIANTS = {"jetson-orin": (6, 1.5)}
# Of the memory's rate that a vendor states, what programs get: as on a Raspberry Pi 4, where STREAM has 5.5 of the 12.8 GB/s
# that https://www.sci-pi.org.uk/bench/stream.html counts on. An assumption for the others.
REACHED = 0.43
# What a model takes beside its weights, in MB, as in src/config/about.rs.
BESIDE_MB = 40
# The machine of check.csv.
HOST, HOST_KERNEL = "znver5", "avx2"
# The model that PARALLEL comes from; with two threads the error is that of the others.
CALIBRATED_ON = "clip-vit-b-32"


def table(name):
    with (HERE / name).open(newline="") as file:
        return list(csv.DictReader(file))


def profile(name):
    """A board's profile, what it inherits included."""
    own = tomllib.loads((HERE.parent / f"{name}.toml").read_text())
    about = profile(own["base"]) if "base" in own else {}
    return about | own["about"]


def boards():
    """Profiles with a core that a model stands for, and what is known of each: the fastest cores where there are two kinds."""
    for file in sorted(HERE.parent.glob("*.toml")):
        about = profile(file.stem)
        core = re.match(r"(Cortex-\w+)(?:, ([\d.]+) GHz)?", about["cpu"])
        if core:
            cores, clock = VARIANTS.get(file.stem) or (int(about["cores"].split()[0]), float(core[2]))
            yield file.stem, about, STANDS_FOR[core[1]], cores, clock


def cycles(row):
    return int(row["product_cycles"]) + int(row["other_cycles"])


def share(cores, parallel):
    """Of one core's time, what several take."""
    return 1 - parallel + parallel / cores


def calibrate(checks):
    """PARALLEL."""
    one, two = (float(next(row["ms"] for row in checks if row["model"] == CALIBRATED_ON and row["threads"] == threads)) for threads in "12")
    return 2 * (1 - two / one)


def short(ms):
    """Two digits that count."""
    return f"{ms:.1f}" if ms < 9.95 else f"{float(f'{ms:.2g}'):.0f}"


def main():
    counts = {(row["model"], row["kernel"], row["cpu"]): row for row in table("counts.csv")}
    models = list(dict.fromkeys(model for model, _, _ in counts))
    checks = table("check.csv")
    parallel = calibrate(checks)
    errors = []
    for row in checks:
        alone = cycles(counts[row["model"], HOST_KERNEL, HOST]) / float(row["ghz"]) / 1e6
        errors.append(alone * share(int(row["threads"]), parallel) / float(row["ms"]) - 1)
    own = {row["threads"]: error for row, error in zip(checks, errors) if row["model"] == CALIBRATED_ON}
    relative = [abs((1 + error) / (1 + own[row["threads"]]) - 1) for row, error in zip(checks, errors) if row["model"] != CALIBRATED_ON]
    judged = [abs(error) for error, row in zip(errors, checks) if (row["model"], row["threads"]) != (CALIBRATED_ON, "2")]

    print("# Predicted milliseconds a frame\n\nBy `estimate.py`, from [counts](counts.csv) and profiles; nothing here was measured on a board. On the one machine where "
          f"the method could be checked it was off by {statistics.median(judged):.0%} (median) and {max(judged):.0%} (worst).\n")
    print(f"| board | {' | '.join(models)} |\n| --- |{' ---: |' * len(models)}")
    for name, about, cpu, cores, clock in boards():
        cells = []
        for model in models:
            row = counts[model, about["kernel"], cpu]
            compute = cycles(row) / clock / 1e6 * share(cores, parallel)
            load = int(row["weights"]) / (REACHED * about["bandwidth_gb_s"]) / 1e6 if "bandwidth_gb_s" in about else 0
            fits = int(row["weights"]) / 1e6 + BESIDE_MB <= about["budget_mb"]
            cells.append(short(max(compute, load)) if fits else "memory")
        print(f"| {name} | {' | '.join(cells)} |")

    print(f"\n## Checked on x86-64\n\nOne AMD Zen 5 server, two cores, kernel {HOST_KERNEL}; `check.py` measured. PARALLEL is {parallel:.2f}, from {CALIBRATED_ON}.\n")
    print("| model | threads | M cycles | GHz | predicted, ms | measured, ms | error |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row, error in zip(checks, errors):
        ms = float(row["ms"])
        print(f"| {row['model']} | {row['threads']} | {cycles(counts[row['model'], HOST_KERNEL, HOST]) / 1e6:.1f} | {float(row['ghz']):.2f} | "
              f"{ms * (1 + error):.2f} | {ms:.2f} | {error:+.0%} |")

    print(f"\nTaken relative to {CALIBRATED_ON}, the other models are off by {statistics.median(relative):.0%} (median) and {max(relative):.0%} (worst).")

    print("\n## A frame's cycles, in millions\n\n| model | kernel | CPU model | in the products' loops | elsewhere | "
          "instructions there | and elsewhere |\n| --- | --- | --- | ---: | ---: | ---: | ---: |")
    for row in counts.values():
        figures = (int(row[column]) / 1e6 for column in ("product_cycles", "other_cycles", "product_instructions", "other_instructions"))
        print(f"| {row['model']} | {row['kernel']} | {row['cpu']} | {' | '.join(f'{figure:.1f}' for figure in figures)} |")


if __name__ == "__main__":
    main()
