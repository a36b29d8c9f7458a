"""Runs edgeclip at full rate for minutes, changes its labels all the time, and looks whether its memory stays flat.

    python3 benches/soak.py --minutes 30 --edgeclip target/release/edgeclip --out soak

The source is a folder that is played over and over as fast as frames are inferred. Label sets change every few seconds, in
turn through the API and through the labels file; every tenth is wrong and must be refused. A client reads the state twice a
second and another watches the live picture now and then. Memory (VmRSS), threads and open files are read from /proc.

Writes OUT.csv, a line for each sample, and OUT.svg, memory over time. Ends with 0 where memory was flat, no frame failed, and
every change of labels came to what it should.
"""

import argparse
import csv
import http.client
import json
import math
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import astuple, dataclass, fields
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Not looked at: the allocator finds its size.
WARM_UP_S = 20.0
# More growth than this from the first fifth to the last is a leak: in parts of the first, and in MB.
GROWTH_MAX = 0.03
GROWTH_MAX_MB = 2.0
SAMPLE_S = 0.5
TIMEOUT_S = 60.0
START_S = 300.0
WORDS = ["cat", "dog", "car", "tree", "house", "rocket", "cup", "mountain", "star", "circle", "person", "parcel"]
WRONG_EVERY = 10
WATCH_EVERY_S = 30.0
WATCH_S = 5.0


@dataclass(frozen=True)
class Sample:
    """One look at the process."""

    seconds: float
    rss_mb: float
    threads: int
    files: int
    inferred: int
    failed: int
    labels: int
    swaps: int


class Edgeclip:
    """The program under test."""

    def __init__(self, program: Path, source: str, folder: Path, arguments: list[str]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.labels = folder / "labels.txt"
        self.labels.write_text("a cat\na dog\n", encoding="utf-8")
        config = folder / "config.toml"
        config.write_text(
            f'[source]\nurl = {json.dumps(source)}\nrepeat = true\npace = "every"\n'
            f"[labels]\nfile = {json.dumps(str(self.labels))}\n"
            f'[jsonl]\nstdout = false\nfile = {json.dumps(str(folder / "events.jsonl"))}\nfile_bytes_max = 1000000\n'
            f'[http]\nlisten = "127.0.0.1:{self.port}"\n',
            encoding="utf-8",
        )
        command = [program, "run", "--config", config, "--state-dir", folder / "state", *arguments]
        self.process = subprocess.Popen(command)

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def state(self) -> dict:
        """How things stand, as the page shows it."""
        status, body = self.ask("GET", "/api/state")
        if status != 200:
            raise RuntimeError(f"/api/state answers {status}: {body[:200]!r}")
        return json.loads(body)["state"]

    def sample(self, seconds: float, swaps: int) -> Sample:
        """Looks at the process from outside and inside."""
        proc = Path(f"/proc/{self.process.pid}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text(encoding="ascii").splitlines())
        state = self.state()
        return Sample(
            round(seconds, 2),
            int(status["VmRSS"].split()[0]) / 1024,
            int(status["Threads"]),
            len(list((proc / "fd").iterdir())),
            state["inferred"],
            state["failed"],
            len(state["regions"][0]["labels"]) if state["regions"] else 0,
            swaps,
        )

    def wait(self) -> None:
        """Until frames flow."""
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise RuntimeError(f"edgeclip ended with {self.process.returncode}")
            try:
                if self.state()["inferred"] > 0:
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise RuntimeError("no frame")

    def stop(self) -> int:
        """As systemd does it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


class Swapper(threading.Thread):
    """Changes the labels until it is told to end."""

    def __init__(self, edgeclip: Edgeclip, every_s: float) -> None:
        super().__init__(daemon=True)
        self.edgeclip, self.every_s = edgeclip, every_s
        self.ended = threading.Event()
        self.swaps = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        turn = 0
        while not self.ended.wait(self.every_s):
            turn += 1
            try:
                self.change(turn)
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(f"change {turn}: {error}")

    def change(self, turn: int) -> None:
        """Another number of labels each time; old ones come back, new ones are encoded."""
        count = 2 + turn % (len(WORDS) - 2)
        names = [f"a {WORDS[(turn + at) % len(WORDS)]} {'at night' if turn % 7 == 0 else ''}".strip() for at in range(count)]
        is_wrong = turn % WRONG_EVERY == 0
        text = '[[label]]\nname = "a cat"\nenter = 7\n' if is_wrong else "\n".join(names) + "\n"
        if turn % 2 == 0:
            status, body = self.edgeclip.ask("PUT", "/api/labels", text.encode())
            wanted = 422 if is_wrong else 200
            if status != wanted:
                self.wrong.append(f"change {turn}: {status} instead of {wanted}: {body[:200]!r}")
        else:
            beside = self.edgeclip.labels.with_suffix(".new")
            beside.write_text(text, encoding="utf-8")
            beside.replace(self.edgeclip.labels)
        self.swaps += 1


def watch(edgeclip: Edgeclip, ended: threading.Event) -> None:
    """Looks at the live picture for some seconds, again and again."""
    while not ended.wait(WATCH_EVERY_S - WATCH_S):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", edgeclip.port, timeout=TIMEOUT_S)
            connection.request("GET", "/stream.mjpg")
            stream, until = connection.getresponse(), time.monotonic() + WATCH_S
            while time.monotonic() < until and stream.read1(1 << 16):
                pass
            connection.close()
        except (OSError, http.client.HTTPException) as error:
            # The end of the run ends the stream as well.
            if not ended.is_set():
                print(f"live picture: {error}", file=sys.stderr)


def judge(samples: list[Sample]) -> tuple[bool, str]:
    """Whether memory was flat: the medians of the first and the last fifth after warm-up."""
    after = [sample.rss_mb for sample in samples if sample.seconds >= min(WARM_UP_S, samples[-1].seconds / 4)]
    fifth = max(1, len(after) // 5)
    first, last = statistics.median(after[:fifth]), statistics.median(after[-fifth:])
    growth = last - first
    is_flat = growth <= max(GROWTH_MAX_MB, GROWTH_MAX * first)
    words = f"memory: {first:.1f} MB in the first fifth, {last:.1f} MB in the last, {max(after):.1f} MB at most"
    return is_flat, f"{words}: {'flat' if is_flat else 'NOT FLAT'}"


def chart(samples: list[Sample], words: str) -> str:
    """Memory over time, as SVG."""
    width, height, left, right, top, bottom = 800, 320, 72, 24, 52, 40
    seconds, most = max(samples[-1].seconds, 1.0), max(sample.rss_mb for sample in samples)
    step = 10 ** math.floor(math.log10(most / 2))
    while most / step > 6:
        step *= 2
    roof = step * math.ceil(most * 1.05 / step)

    def across(at: float) -> float:
        return left + (width - left - right) * at / seconds

    def down(mb: float) -> float:
        return height - bottom - (height - top - bottom) * mb / roof

    minutes = max(1, round(seconds / 60 / 6)) if seconds > 180 else 0.5
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{left}" y="18" font-size="14">Resident memory of edgeclip at full rate, labels changing</text>',
        f'<text x="{left}" y="36" fill="#555">{words}</text>',
    ]
    for at in range(int(roof / step) + 1):
        y = down(at * step)
        lines.append(f'<path d="M{left} {y:.1f}H{width - right}" stroke="#ddd"/>')
        lines.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{at * step:g} MB</text>')
    at = 0.0
    while at * 60 <= seconds:
        lines.append(f'<text x="{across(at * 60):.1f}" y="{height - 14}" text-anchor="middle" fill="#555">{at:g} min</text>')
        at += minutes
    points = " ".join(f"{across(sample.seconds):.1f},{down(sample.rss_mb):.1f}" for sample in samples)
    lines.append(f'<polyline points="{points}" fill="none" stroke="#0a5" stroke-width="1.5"/>')
    return "\n".join([*lines, "</svg>", ""])


def soak(edgeclip: Edgeclip, minutes: float, swap_s: float, out: Path) -> bool:
    """Runs for so long, and says whether all was well."""
    edgeclip.wait()
    swapper = Swapper(edgeclip, swap_s)
    swapper.start()
    threading.Thread(target=watch, args=(edgeclip, swapper.ended), daemon=True).start()
    samples: list[Sample] = []
    begun = time.monotonic()
    while (seconds := time.monotonic() - begun) < minutes * 60:
        samples.append(edgeclip.sample(seconds, swapper.swaps))
        time.sleep(SAMPLE_S)
    swapper.ended.set()
    swapper.join(TIMEOUT_S)
    code = edgeclip.stop()

    with out.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(Sample))
        writer.writerows(astuple(sample) for sample in samples)
    is_flat, words = judge(samples)
    first, last = samples[0], samples[-1]
    rate = (last.inferred - first.inferred) / max(last.seconds - first.seconds, 1e-9)
    after = [sample for sample in samples if sample.seconds >= WARM_UP_S] or samples
    sizes = {name: (min(values), max(values)) for name in ("threads", "files") if (values := [getattr(s, name) for s in after])}
    out.with_suffix(".svg").write_text(chart(samples, words), encoding="utf-8")
    print(words)
    print(f"{last.inferred} frames, {rate:.1f} a second, {last.failed} failed; {swapper.swaps} changes of labels")
    print(f"threads {sizes['threads'][0]} to {sizes['threads'][1]}, open files {sizes['files'][0]} to {sizes['files'][1]}; ended with {code}")
    for wrong in swapper.wrong:
        print(f"wrong: {wrong}")
    return is_flat and code == 0 and last.failed == 0 and not swapper.wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--edgeclip", type=Path, default=ROOT / "target/release/edgeclip")
    parser.add_argument("--source", default=f"dir:{ROOT / 'examples/images'}")
    parser.add_argument("--swap-every", type=float, default=7, metavar="SECONDS")
    parser.add_argument("--out", type=Path, default=Path("soak"), help="of OUT.csv and OUT.svg")
    parser.add_argument("arguments", nargs="*", help="more for edgeclip run, after --, such as -- --threads 1")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        edgeclip = Edgeclip(given.edgeclip, given.source, Path(folder), given.arguments)
        try:
            is_well = soak(edgeclip, given.minutes, given.swap_every, given.out)
        finally:
            edgeclip.stop()
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
