"""The learning curve of a training, from its log: loss and zero-shot accuracy over batches."""

import json
from pathlib import Path

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 320, 56, 56, 30, 44
INK, LOSS, TOP1 = "#333", "#9a9a9a", "#0b6bcb"


def line(points: list[tuple[float, float]], colour: str, width: float) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def text(x: float, y: float, words: str, anchor: str = "middle", colour: str = INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


def read(log: Path) -> list[dict]:
    """The log's lines; of steps done twice, after a stop, the later ones."""
    steps: dict[int, dict] = {}
    for row in map(json.loads, log.read_text().splitlines()):
        steps = {step: kept for step, kept in steps.items() if step < row["step"]}
        steps[row["step"]] = row
    return list(steps.values())


def draw_curves(log: Path, out: Path) -> None:
    """Writes the curves as SVG."""
    rows = read(log)
    last = rows[-1]["step"]
    most_loss = max(row["loss"] for row in rows)
    scored = [row for row in rows if "val_top1" in row]
    most = 10 * (int(max((row["val_top1"] for row in scored), default=0) * 10) + 1)
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(step: int) -> float:
        return LEFT + wide * step / last

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">']
    parts.append(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>')
    for percent in range(0, most + 1, 10):
        y = TOP + high * (1 - percent / most)
        parts += [line([(LEFT, y), (LEFT + wide, y)], "#e4e4e4", 1), text(LEFT - 8, y + 4, f"{percent} %", "end", TOP1)]
    for part in range(5):
        loss = most_loss * part / 4
        parts.append(text(LEFT + wide + 8, TOP + high * (1 - part / 4) + 4, f"{loss:.1f}", "start", "#777"))
        parts.append(text(x(last * part // 4), HEIGHT - 22, f"{last * part // 4}"))
    for before, row in zip(rows, rows[1:]):
        if before["side"] != row["side"]:
            parts += [line([(x(row["step"]), TOP), (x(row["step"]), TOP + high)], "#bbb", 1), text(x(row["step"]) + 4, TOP + high - 6, f"from here {row['side']} pixels", "start", "#777")]
    parts.append(line([(x(row["step"]), TOP + high * (1 - row["loss"] / most_loss)) for row in rows], LOSS, 1))
    parts.append(line([(x(row["step"]), TOP + high * (1 - 100 * row["val_top1"] / most)) for row in scored], TOP1, 2.5))
    parts += [text(LEFT, 18, "tiny-imagenet val, zero-shot top-1, every fourth picture", "start", TOP1), text(WIDTH - RIGHT, 18, "training loss", "end", "#777")]
    parts += [text(LEFT + wide / 2, HEIGHT - 6, "batches of 256 pairs"), "</svg>", ""]
    out.write_text("\n".join(parts))
