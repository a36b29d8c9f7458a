"""What the emulator's plugin counted (blocks.c): which blocks of code ran, and how often."""

import bisect
import collections
import pathlib
import sys


def read(path):
    """How often each block ran: `{(file, address in it, bytes of its instructions in hexadecimal): times}`."""
    maps, blocks = pathlib.Path(path).read_text().split("\n\n", 1)
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
        address, runs, code = line.split()
        address = int(address, 16)
        at = bisect.bisect(mapped, (address, sys.maxsize)) - 1
        file = mapped[at][3] if at >= 0 and address < mapped[at][1] else ""
        times[file, address - base.get(file, 0), tuple(code.rstrip(",").split(","))] += int(runs)
    return times


def frame(few, more, frames):
    """How often each block runs in one frame: two runs differ by so many."""
    few, more = read(few), read(more)
    return {block: (more[block] - few[block]) / frames for block in few | more if more[block] != few[block]}


def addresses(block):
    """Where its instructions are."""
    _, address, code = block
    for instruction in code:
        yield address
        address += len(instruction) // 2


def total(times):
    """Instructions that were executed."""
    return sum(len(block[2]) * runs for block, runs in times.items())
