"""Measures edgeclip's image tower and the runtimes one could take instead, in one alternating run, and writes results.md.

    python run.py BUNDLE WORK --edgeclip EDGECLIP --rten RTEN_WORKER

WORK is the folder that prepare.py filled. Every runtime stays loaded in a process of its own; in each round, each of them
encodes one block of frames while the others wait, so that what slows the machine for a while slows all of them.
"""

import argparse
import datetime
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np

from variants import EXECUTORCH, FUSED, FUSED_FLOAT, PICTURE, PIXELS, PLAIN

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FP32, INT8 = "fp32", "int8"
# At the start of a block, not measured: as many as `edgeclip bench` has.
WARM_UP = 3
# Between two blocks: the threads of the last runtime stop spinning.
PAUSE_S = 0.05
# A variant whose embedding is further from the float one does not count as the best: its answers are wrong.
COSINE_MIN = 0.99
# Instructions that multiply int8, as the system names them.
INT8_FLAGS = ["avx2", "avx_vnni", "avx512_vnni", "amx_int8", "asimd", "asimddp", "i8mm"]


@dataclass(frozen=True)
class Times:
    """Of one block, in milliseconds."""

    median: float
    p10: float
    p90: float

    @classmethod
    def of(cls, frames: list[float]) -> "Times":
        """By the rule of `edgeclip bench`."""
        at = [sorted(frames)[(len(frames) - 1) * tenth // 10] for tenth in (5, 1, 9)]
        return cls(*at)


class Worker:
    """A runtime's process that answers worker.py's commands."""

    def __init__(self, *command: object):
        self.messages = tempfile.TemporaryFile("w+")
        parts = [str(part) for part in command]
        self.process = subprocess.Popen(parts, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.messages, text=True)

    def ask(self, line: str) -> list[float]:
        """Sends a command; what a process said that died is raised."""
        try:
            print(line, file=self.process.stdin, flush=True)
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            self.process.wait()
            self.messages.seek(0)
            raise RuntimeError(self.messages.read().strip()) from None

    def block(self, frames: int) -> Times:
        return Times.of(self.ask(f"run {WARM_UP + frames}")[WARM_UP:])

    def embedding(self) -> list[float]:
        return self.ask("embed")

    def close(self) -> None:
        self.process.communicate()


class Edgeclip:
    """The program itself: it loads anew for each block, and its answer leaves that and the warm-up out."""

    def __init__(self, binary: Path, bundle: Path, picture: Path, precision: str, threads: int):
        self.binary, self.picture = binary, picture
        self.options = ["--model", bundle, "--precision", precision, "--threads", str(threads), "--json"]

    def ask(self, *arguments: object) -> dict:
        run = subprocess.run([self.binary, *arguments, self.picture, *self.options], capture_output=True, text=True, check=False)
        if run.returncode:
            raise RuntimeError(run.stderr.strip())
        return json.loads(run.stdout)

    def block(self, frames: int) -> Times:
        return Times(**self.ask("bench", "--frames", str(frames))["encode_ms"])

    def embedding(self) -> list[float]:
        return self.ask("embed")["embedding"]

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Entry:
    """A row of the table. `start` makes `side`, which `runs` and `embedding` come from."""

    runtime: str
    precision: str
    variant: str
    threads: int
    start: Callable[[], Worker | Edgeclip]
    side: Worker | Edgeclip | None = None
    runs: list[Times] = field(default_factory=list)
    embedding: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.runtime} {self.precision}, {self.variant}, threads: {self.threads}"

    def middle(self, of: str = "median") -> float:
        """Median over the rounds of `median`, `p10` or `p90`."""
        return statistics.median(getattr(times, of) for times in self.runs)

    @property
    def quietest(self) -> float:
        """The least of the blocks' medians."""
        return min(times.median for times in self.runs)

    def ratio(self, other: "Entry") -> float:
        """How many times as long as `other` it takes: median over the rounds."""
        return statistics.median(mine.median / theirs.median for mine, theirs in zip(self.runs, other.runs, strict=True))

    def cosine(self, other: "Entry") -> float:
        mine, theirs = np.array(self.embedding), np.array(other.embedding)
        return float(mine @ theirs / np.linalg.norm(mine) / np.linalg.norm(theirs))


def locked(lockfile: Path, package: str) -> str:
    """The version of a crate."""
    return re.search(rf'name = "{package}"\nversion = "(.+)"', lockfile.read_text())[1]


def entries(args: argparse.Namespace, threads: int) -> list[Entry]:
    """What is measured. The first is edgeclip, and the second ONNX Runtime's float, which the embeddings are compared with."""
    graph, pixels = args.bundle / "vision.onnx", args.work / PIXELS
    found = []

    def add(runtime: str, precision: str, variant: str, start: Callable[..., Worker | Edgeclip], *arguments: object) -> None:
        found.append(Entry(runtime, precision, variant, threads, lambda: start(*arguments, threads)))

    def python(name: str, model: Path, threads: int) -> Worker:
        return Worker(sys.executable, HERE / "worker.py", name, model, pixels, threads)

    def edgeclip(precision: str, threads: int) -> Edgeclip:
        return Edgeclip(args.edgeclip, args.bundle, args.work / PICTURE, precision, threads)

    def rten(model: Path, threads: int) -> Worker:
        return Worker(args.rten, model, pixels, threads)

    ours = subprocess.check_output([args.edgeclip, "--version"], text=True).strip()
    add(ours, INT8, "auto", edgeclip, "auto")
    name = f"ONNX Runtime {version('onnxruntime')}"
    add(name, FP32, "as exported", python, "onnxruntime", graph)
    add(name, FP32, "fused", python, "onnxruntime", args.work / FUSED_FLOAT)
    for variant in PLAIN + FUSED:
        add(name, INT8, variant.name, python, "onnxruntime", args.work / variant.file)
    if threads == 1:
        tract = f"tract {locked(ROOT / 'Cargo.lock', 'tract-onnx')}"
        add(tract, FP32, "`edgeclip bench --precision float`", edgeclip, "float")
    name = f"rten {locked(HERE / 'rten' / 'Cargo.lock', 'rten')}"
    add(name, FP32, "as exported", rten, graph)
    for variant in PLAIN:
        add(name, INT8, variant.name, rten, args.work / variant.file)
    name = f"ExecuTorch {version('executorch')}, XNNPACK"
    for precision, file in EXECUTORCH.items():
        variant = "dynamic, per channel" if precision == INT8 else "eager attention"
        add(name, precision, variant, python, "executorch", args.work / file)
    return found


def measure(todo: list[Entry], rounds: int, frames: int) -> tuple[list[Entry], list[str]]:
    """Runs the rounds: the entries that did run, and what went wrong with the others."""
    running, failed = [], []
    for entry in todo:
        print(f"loading {entry.name}", file=sys.stderr)
        try:
            entry.side = entry.start()
            entry.embedding = entry.side.embedding()
            running.append(entry)
        except (OSError, RuntimeError) as error:
            failed.append(f"{entry.name}: {error}")
    order = list(running)
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        random.Random(number).shuffle(order)
        for entry in order:
            time.sleep(PAUSE_S)
            entry.runs.append(entry.side.block(frames))
    for entry in running:
        entry.side.close()
    return running, failed


def best(rows: list[Entry], exact: Entry) -> list[Entry]:
    """The fastest of each runtime and arithmetic, of those whose answers are near those of `exact`."""
    fastest: dict[tuple[str, str], Entry] = {}
    for row in sorted(rows, key=Entry.middle):
        if row.cosine(exact) >= COSINE_MIN:
            fastest.setdefault((row.runtime, row.precision), row)
    return list(fastest.values())


def table(rows: list[Entry], base: Entry, exact: Entry) -> list[str]:
    """Markdown, the fastest first. Times are beside those of `base`, cosines are to `exact`."""
    lines = [
        "| runtime | arithmetic | variant | threads | median ms | p10 - p90 ms | quietest ms | times edgeclip's | cosine to fp32 |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in sorted(rows, key=Entry.middle):
        spread = f"{row.middle('p10'):.1f} - {row.middle('p90'):.1f}"
        times = f"{row.middle():.1f} | {spread} | {row.quietest:.1f} | {row.ratio(base):.2f}"
        lines.append(f"| {row.runtime} | {row.precision} | {row.variant} | {row.threads} | {times} | {row.cosine(exact):.4f} |")
    return lines


def machine() -> str:
    """The CPU in words, as `lscpu` has it."""
    listed = subprocess.check_output(["lscpu", "--json"], text=True, env={**os.environ, "LC_ALL": "C"})
    facts: dict[str, str] = {}

    def walk(items: list[dict]) -> None:
        for item in items:
            facts[item["field"].rstrip(":")] = item["data"]
            walk(item.get("children", []))

    walk(json.loads(listed)["lscpu"])
    flags = [flag for flag in INT8_FLAGS if flag in facts.get("Flags", "").split()]
    family = f", family {facts['CPU family']}, model {facts['Model']}" if "CPU family" in facts else ""
    host = f", a virtual machine ({facts['Hypervisor vendor']})" if "Hypervisor vendor" in facts else ""
    return f"{facts['Model name']}{family} ({platform.machine()}; {', '.join(flags)}), {os.cpu_count()} cores{host}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--edgeclip", type=Path, default=ROOT / "target/release/edgeclip", help="[default: %(default)s]")
    parser.add_argument("--rten", type=Path, default=ROOT / "target/release/rten-worker", help="[default: %(default)s]")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="each is measured by itself [default: 1 2]")
    parser.add_argument("--rounds", type=int, default=10, help="[default: %(default)s]")
    parser.add_argument("--frames", type=int, default=10, help="in a block [default: %(default)s]")
    parser.add_argument("--only", default="", help="measure only what has this in its name, beside edgeclip and the fp32 of ONNX Runtime")
    parser.add_argument("--out", type=Path, default=HERE / "results.md", help="[default: %(default)s]")
    args = parser.parse_args()
    args.edgeclip, args.rten = args.edgeclip.resolve(), args.rten.resolve()
    loads = [os.getloadavg()[0]]
    bests, wholes, failed = [], [], []
    for threads in args.threads:
        todo = entries(args, threads)
        running, wrong = measure(todo[:2] + [entry for entry in todo[2:] if args.only in entry.name], args.rounds, args.frames)
        if running[:2] != todo[:2]:
            sys.exit("\n".join(wrong))
        base, exact = running[:2]
        bests += [*table(best(running, exact), base, exact), ""]
        wholes += [*table(running, base, exact), ""]
        failed += [f"Not measured: {message}" for message in wrong]
        loads.append(os.getloadavg()[0])
    name = re.search(r'^name = "(.+)"', (args.bundle / "model.toml").read_text(), re.MULTILINE)[1]
    lines = [
        "# edgeclip beside other runtimes",
        "",
        f"Written by run.py on {datetime.date.today()}; README.md tells how to read it.",
        "",
        f"- Model: image tower of {name}; batch 1.",
        f"- CPU: {machine()}.",
        f"- Each time: median over {args.rounds} alternating rounds of {args.frames} frames each.",
        f"- Load average before, and after each number of threads: {', '.join(f'{load:.1f}' for load in loads)}.",
        "",
        "## The best of each",
        "",
        *bests,
        "## All variants",
        "",
        *wholes,
        *failed,
    ]
    text = "\n".join(lines).strip() + "\n"
    args.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
