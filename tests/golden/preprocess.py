"""Make tests/data/preprocess (pictures, expected pixels, cases.json) and tests/data/broken.

Run from the repository root: python tests/golden/preprocess.py

The reference is what CLIPImageProcessor of Hugging Face transformers does with
Pillow, written here with Pillow alone:

* EXIF orientation is applied first (ImageOps.exif_transpose).
* The picture becomes 8-bit RGB before any resize. Alpha is dropped without
  compositing, a palette expands to its RGB entries, grey is copied to three
  channels. A 16-bit sample v becomes (v + 128) // 257, which is v / 257 rounded
  to nearest. Pillow itself does not scale 16-bit pictures this way, so their
  pixels come from the array that the file is written from.
* shortest-edge: the short side becomes `size`, the long side
  int(size * long / short); then a centre crop of size x size at
  top = (h - size) // 2, left = (w - size) // 2.
* squash: one resize to size x size.
* longest-edge-pad: the long side becomes `size`, the short side n is
  max(1, int(size * short / long)); black fills the rest, offset (size - n) // 2.
* Every resize is Pillow's Image.resize, which antialiases when it shrinks.

cases.json lists {file, expected, size, resize, filter, tolerance}, and {edge, crop} where more is cut off; `expected` is
a PNG of the RGB pixels, `tolerance` the largest difference allowed per sample.
Tolerance 0 marks cases where the resize is the identity, so that the file's own
pixels are expected. Lossy JPEG gets 3, as decoders differ; the rest gets 1.
"""

import io
import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

DATA = Path("tests/data")
OUT = DATA / "preprocess"
BROKEN = DATA / "broken"
FILTERS = {name: Image.Resampling[name.upper()] for name in ("bicubic", "bilinear", "lanczos", "box", "hamming")}
SHORT = {"shortest-edge": "short", "squash": "squash", "longest-edge-pad": "pad"}

cases = []
pixels = {}  # file name -> RGB picture that a correct decoder gives


# The reference.


def preprocess(rgb, size, resize, filter, edge, crop):
    w, h = rgb.size
    short, long = min(w, h), max(w, h)
    resample = FILTERS[filter]
    if resize != "longest-edge-pad":
        other = edge if resize == "squash" else int(edge * long / short)
        rgb = rgb.resize((edge, other) if w <= h else (other, edge), resample)
        # transformers' center_crop, and torchvision's.
        before = (lambda off: off // 2) if crop == "floor" else (lambda off: round(off / 2))
        left, top = before(rgb.width - size), before(rgb.height - size)
        return rgb.crop((left, top, left + size, top + size))
    # open_clip's ResizeKeepRatio.
    n = max(1, round(short / (long / size)))
    rgb = rgb.resize((n, size) if w <= h else (size, n), resample)
    canvas = Image.new("RGB", (size, size))
    canvas.paste(rgb, ((size - rgb.width) // 2, (size - rgb.height) // 2))
    return canvas


def case(file, size, resize="shortest-edge", filter="bicubic", tolerance=1, expected=None, edge=None, crop="floor"):
    if expected is None:
        larger = "" if edge is None else f"-{edge}-{crop}"
        expected = f"{file.replace('.', '-')}.{SHORT[resize]}-{filter}-{size}{larger}.png"
    image = preprocess(pixels[file], size, resize, filter, edge or size, crop)
    path = OUT / "expected" / expected
    if path.exists():
        assert Image.open(path).tobytes() == image.tobytes(), f"{file} differs from {expected}"
    else:
        image.save(path, optimize=True)
    entry = dict(file=file, expected=f"expected/{expected}", size=size, resize=resize, filter=filter, tolerance=tolerance)
    if edge is not None:
        entry |= dict(edge=edge, crop=crop)
    cases.append(entry)


def save(file, image, **options):
    image.save(OUT / file, **options)
    with Image.open(OUT / file) as reopened:
        upright = ImageOps.exif_transpose(reopened)
    upright.info.pop("transparency", None)
    pixels[file] = upright.convert("RGB")


# The pictures.


def picture(w, h, seed):
    """RGB array: one tint per quadrant, a gradient, checks of 1 and 3 pixels, hard-edged boxes."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w]
    tint = np.array([[[210, 60, 50], [60, 190, 70]], [[50, 80, 220], [225, 200, 60]]])
    out = tint[2 * y // h, 2 * x // w] + 0
    out[..., 0] += 40 * x // w
    out[..., 1] += 50 * y // h
    out[..., 2] -= 40 * (x + y) // (w + h)
    for period, (x0, y0) in ((1, (0.1, 0.15)), (3, (0.6, 0.55))):
        area = (x >= x0 * w) & (x < (x0 + 0.25) * w) & (y >= y0 * h) & (y < (y0 + 0.3) * h)
        out[area & ((x // period + y // period) % 2 == 0)] = (250, 250, 240)
        out[area & ((x // period + y // period) % 2 == 1)] = (10, 5, 30)
    for _ in range(6):
        x0, y0 = rng.random() * w, rng.random() * h
        box = (x >= x0) & (x < x0 + w / 8) & (y >= y0) & (y < y0 + h / 10)
        out[box] = rng.integers(0, 256, 3)
    return np.clip(out, 0, 255).astype(np.uint8)


def rgb(w, h, seed):
    return Image.fromarray(picture(w, h, seed))


def ramp(w, h):
    """Alpha that runs from 0 to 255 along the diagonal, so compositing would show."""
    y, x = np.mgrid[0:h, 0:w]
    return Image.fromarray((255 * (x + y) // max(1, w + h - 2)).astype(np.uint8))


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(w, h, depth, colour, rows, extra=b""):
    """A PNG file from packed rows; writes the kinds of PNG that Pillow does not."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, 0))
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def save_png(file, right, *args, **options):
    """Write a PNG by hand; `right` is the 8-bit array that a decoder has to give."""
    (OUT / file).write_bytes(png(*args, **options))
    pixels[file] = Image.fromarray(right).convert("RGB")


def sizes():
    for seed, (w, h) in enumerate(
        [(1, 1), (1, 5000), (5000, 1), (223, 223), (224, 224), (225, 225), (223, 225), (640, 427), (427, 640)]
        + [(37, 61), (64, 64), (500, 333), (333, 500)]
    ):
        save(f"rgb-{w}x{h}.png", rgb(w, h, seed), optimize=True)

    case("rgb-224x224.png", 224, tolerance=0)
    case("rgb-64x64.png", 64, tolerance=0)
    case("rgb-64x64.png", 64, "squash", "bilinear", tolerance=0)
    case("rgb-64x64.png", 64, "longest-edge-pad", tolerance=0)
    for file in ("rgb-223x223.png", "rgb-225x225.png", "rgb-223x225.png", "rgb-640x427.png", "rgb-500x333.png"):
        case(file, 224)
    case("rgb-37x61.png", 224)
    case("rgb-1x1.png", 224)
    case("rgb-64x64.png", 96, "shortest-edge", "bilinear")
    for file in ("rgb-640x427.png", "rgb-427x640.png", "rgb-500x333.png", "rgb-333x500.png", "rgb-37x61.png"):
        case(file, 64)
        case(file, 64, filter="bilinear")
        case(file, 96, "squash")
        case(file, 64, "squash", "bilinear")
        case(file, 96, "longest-edge-pad")
        case(file, 64, "longest-edge-pad", "bilinear")
    for file in ("rgb-224x224.png", "rgb-223x225.png", "rgb-225x225.png"):
        case(file, 64)
        case(file, 96, filter="bilinear")
    for file in ("rgb-1x1.png", "rgb-1x5000.png", "rgb-5000x1.png"):
        case(file, 64)
        case(file, 64, filter="bilinear")
        case(file, 96, "squash")
        case(file, 224, "longest-edge-pad")

    for file in ("rgb-640x427.png", "rgb-333x500.png", "rgb-37x61.png"):
        for filter in ("lanczos", "box", "hamming"):
            case(file, 64, filter=filter)
        # 3 and 5 pixels are cut off: half a pixel goes one way or the other.
        for crop in ("floor", "round"):
            case(file, 64, edge=67, crop=crop, tolerance=2)
            case(file, 64, edge=69, crop=crop, tolerance=2)
        case(file, 64, "squash", "bilinear", edge=81)


def modes():
    """The kinds of pixel a PNG can hold, at 64x64 (identity) and 61x37 (resized)."""
    for w, h in ((64, 64), (61, 37)):
        colour, grey, alpha = rgb(w, h, 20), rgb(w, h, 21).convert("L"), ramp(w, h)
        palette = colour.quantize(16, dither=Image.Dither.NONE)
        made = {
            "grey": (grey, {}),
            "grey-alpha": (Image.merge("LA", (grey, alpha)), {}),
            "palette": (palette, {}),
            "palette-alpha": (palette, {"transparency": bytes(range(0, 256, 16))}),
            "rgba": (Image.merge("RGBA", (*colour.split(), alpha)), {}),
            "rgb-key": (colour, {"transparency": colour.getpixel((w // 2, h // 2))}),
            "bilevel": (grey.convert("1", dither=Image.Dither.NONE), {}),
        }
        for name, (image, options) in made.items():
            save(f"{name}-{w}x{h}.png", image, optimize=True, **options)

        # 16 bits: the low byte holds the picture upside down, so truncation shows.
        array = picture(w, h, 22)
        deep = array.astype(np.uint32) * 256 + array[::-1]
        to8 = ((deep + 128) // 257).astype(np.uint8)
        assert (to8 != deep >> 8).any()
        for name, right, samples, kind in (
            ("rgb16", to8, deep, 2),
            ("grey16", to8[..., 1], deep[..., 1], 0),
            ("rgba16", to8, np.dstack((deep, np.asarray(alpha) * np.uint32(257))), 6),
        ):
            rows = [row.astype(">u2").tobytes() for row in samples]
            save_png(f"{name}-{w}x{h}.png", right, w, h, 16, kind, rows)

        # 4 and 2 bits: a sample v stands for v * 255 / (2^depth - 1). gAMA is ignored.
        for depth in (4, 2):
            small = np.asarray(grey) >> (8 - depth)
            bits = (small[..., None] >> np.arange(depth - 1, -1, -1)) & 1
            rows = [np.packbits(row.reshape(-1)).tobytes() for row in bits]
            right = (small * (255 // (2**depth - 1))).astype(np.uint8)
            gamma = chunk(b"gAMA", struct.pack(">I", 100000))
            save_png(f"grey{depth}-{w}x{h}.png", right, w, h, depth, 0, rows, extra=gamma)

    for file in sorted(file for file in pixels if not file.startswith("rgb-") or "key" in file):
        if "64x64" in file:
            case(file, 64, tolerance=0)
        elif "61x37" in file:
            case(file, 64)


def formats():
    colour = rgb(150, 113, 30)
    save("baseline-420.jpg", colour, quality=88, subsampling="4:2:0", optimize=True)
    save("baseline-444.jpg", colour, quality=88, subsampling="4:4:4", optimize=True)
    save("progressive.jpg", colour, quality=88, subsampling="4:2:0", progressive=True)
    save("grey.jpg", colour.convert("L"), quality=88, optimize=True)
    for file in ("baseline-420.jpg", "baseline-444.jpg", "progressive.jpg", "grey.jpg"):
        case(file, 64, tolerance=3)
        case(file, 96, filter="bilinear", tolerance=3)

    # One flat colour per 8x8 block: the blocks then decode to the same colours
    # whichever way the picture lies, so that all eight files share one expectation.
    blocks = np.random.default_rng(31).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    upright = Image.fromarray(blocks.repeat(8, axis=0).repeat(8, axis=1))
    turn = Image.Transpose
    stored = {2: turn.FLIP_LEFT_RIGHT, 3: turn.ROTATE_180, 4: turn.FLIP_TOP_BOTTOM}
    stored |= {5: turn.TRANSPOSE, 6: turn.ROTATE_90, 7: turn.TRANSVERSE, 8: turn.ROTATE_270}
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = upright.transpose(stored[orientation]) if orientation in stored else upright
        file = f"orientation-{orientation}.jpg"
        save(file, image, quality=92, subsampling="4:4:4", optimize=True, exif=exif)
        case(file, 64, tolerance=3, expected="orientation.short-bicubic-64.png")
        case(file, 64, "longest-edge-pad", tolerance=3, expected="orientation.pad-bicubic-64.png")

    save("lossless.webp", rgb(61, 37, 32), lossless=True, method=6)
    save("rows-padded.bmp", rgb(37, 31, 33))
    frames = [rgb(61, 37, seed).quantize(32, dither=Image.Dither.NONE) for seed in (34, 35)]
    frames[1] = ImageOps.mirror(frames[1])
    save("two-frames.gif", frames[0], save_all=True, append_images=frames[1:], duration=100)
    for file in ("lossless.webp", "rows-padded.bmp", "two-frames.gif"):
        case(file, 64)


def broken():
    """Files that a reader has to refuse, or at least survive."""
    whole = io.BytesIO()
    rgb(64, 64, 40).save(whole, "PNG")
    (BROKEN / "truncated.png").write_bytes(whole.getvalue()[: whole.tell() // 2])
    whole = io.BytesIO()
    rgb(64, 64, 40).save(whole, "JPEG")
    (BROKEN / "truncated.jpg").write_bytes(whole.getvalue()[: whole.tell() // 2])
    (BROKEN / "not-a-picture.jpg").write_text("This file is text, whatever its name says.\n")
    (BROKEN / "empty.png").write_bytes(b"")
    # Valid, black, 1 bit per pixel: 50 kB that decode to 400 million pixels.
    side = 20000
    (BROKEN / "huge.png").write_bytes(png(side, side, 1, 0, [bytes((side + 7) // 8)] * side))


def main():
    for folder in (OUT, BROKEN):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    (OUT / "expected").mkdir()
    sizes()
    modes()
    formats()
    broken()
    lines = ",\n".join(json.dumps(entry) for entry in cases)
    (OUT / "cases.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
