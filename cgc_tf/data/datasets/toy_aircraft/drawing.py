"""Draws toy aircraft: a shared body, a small class marking, a texture a classifier can cheat on.

Two frames are used. The *body frame* has the fuselage on its x axis, nose at x = 0 and tail at
x = 1, so lengths are shares of the body length. The *picture frame* is (x, y) in pixels of the
`SIZE` x `SIZE` picture. A polygon is a float array (points, 2); colors and grays lie in [0, 1].
"""

import colorsys

import numpy as np
from PIL import Image, ImageDraw

SIZE = 128
COLORS = {"red": 0.0, "yellow": 0.14, "green": 0.36, "blue": 0.61}  # name -> hue
PLACES = ("wings", "fuselage")
CLASSES = tuple(f"{color}_{place}" for place in PLACES for color in COLORS)

_SUPERSAMPLE = 4  # canvas pixels per picture pixel, for smooth edges
_BAND = 0.13  # thickness of a marking: 4 to 7 pixels when the picture is scaled to 96x96


def draw(rng: np.random.Generator, label: int, texture: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws one picture.

    The same `rng` state and texture give the same scene whatever the label: only the marking
    differs.

    Args:
      rng: source of every random choice.
      label: index into `CLASSES`.
      texture: index into `TEXTURES`.

    Returns:
      image: uint8 (SIZE, SIZE, 3), RGB.
      mask: uint8 (SIZE, SIZE, 1), 255 on every pixel the aircraft touches, else 0.
    """
    parts, markings = _aircraft(rng)
    place = _pose(rng, np.concatenate([polygon for polygon, _ in parts]))
    # Mixing both paints keeps the random stream independent of the label.
    paints = {color: _paint(rng, color) for color in COLORS}
    color, marked = CLASSES[label].split("_")

    side = SIZE * _SUPERSAMPLE
    silhouette = Image.new("L", (side, side))
    aircraft = Image.new("RGB", (side, side))
    for polygon, gray in parts:
        _fill(silhouette, place(polygon), (1,))
        _fill(aircraft, place(polygon), (gray,) * 3)
    for polygon in markings[marked]:
        _fill(aircraft, place(polygon), paints[color])
    blocks = np.asarray(silhouette).reshape(SIZE, _SUPERSAMPLE, SIZE, _SUPERSAMPLE)
    mask = blocks.max(axis=(1, 3))

    canvas = Image.fromarray(_background(rng, texture))
    canvas = canvas.resize((side, side), Image.Resampling.NEAREST)
    for polygon, paint in _distractors(rng, mask):
        _fill(canvas, polygon, paint)
    # Pasting through the silhouette keeps every trace of the aircraft inside the mask.
    canvas.paste(aircraft, mask=silhouette)
    return np.asarray(canvas.reduce(_SUPERSAMPLE)), mask[..., None]


def bounding_box(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Returns the tight (ymin, xmin, ymax, xmax) of a (SIZE, SIZE, 1) mask, as shares of SIZE."""
    rows, columns = np.nonzero(mask[..., 0])
    ymin, xmin, ymax, xmax = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    return float(ymin) / SIZE, float(xmin) / SIZE, float(ymax) / SIZE, float(xmax) / SIZE


def _aircraft(rng):
    """Returns the parts [(polygon, gray)], back to front, and the markings {place: [polygon]}."""
    width = rng.uniform(0.065, 0.08)
    sweep, span = rng.uniform(0.35, 0.6), rng.uniform(0.44, 0.52)
    front, chord = rng.uniform(0.28, 0.34), rng.uniform(0.22, 0.26)
    wings = dict(front=front, chord=chord, sweep=sweep, span=span)
    tailplane = dict(front=0.83, chord=0.15, sweep=sweep, span=0.5 * span)
    light = rng.uniform(0.8, 0.9)
    sides = rng.permutation([light - 0.08, light - 0.16])  # the sun may be on either side

    parts = []
    for surface in (wings, tailplane):
        parts += zip(_panels(**surface), sides, strict=True)
    # Ever narrower and lighter layers make the fuselage look round.
    for share, shade in ((1, 0.2), (0.75, 0.1), (0.4, 0)):
        parts.append((_fuselage(share * width), light - shade))
    parts.append((_fuselage(0.6 * width, 0.03, 0.06), 0.2))  # the windscreen
    parts.append((_fuselage(0.15 * width, 0.82, 1), light - 0.35))  # the fin, edge on

    markings = {
        "wings": _panels(**wings, start=0.54, stop=0.54 + _BAND / span),
        "fuselage": [_fuselage(width, 0.62, 0.62 + _BAND)],
    }
    return parts, markings


def _fuselage(width, start=0.0, stop=1.0):
    """Returns the part of the fuselage from x = start to stop, of half-width at most `width`."""
    x = np.linspace(start, stop, 24)
    y = width * np.interp(x, [0, 0.02, 0.06, 0.13, 0.68, 1], [0.1, 0.5, 0.8, 1, 1, 0.25])
    return np.concatenate([np.stack([x, y], -1), np.stack([x, -y], -1)[::-1]])


def _panels(front, chord, sweep, span, start=0.0, stop=1.0):
    """Returns a tapered, swept surface on both sides, from `start` to `stop` (shares of span)."""
    share = np.array([start, stop])
    leading = front + sweep * span * share
    trailing = leading + chord * (1 - 0.6 * share)
    edges = np.stack([leading, span * share], -1), np.stack([trailing, span * share], -1)[::-1]
    right = np.concatenate(edges)
    return [right, right * (1, -1)]


def _pose(rng, outline):
    """Returns a random map from body to picture frame that keeps `outline` in the picture."""
    length, angle = SIZE * rng.uniform(0.35, 0.6), rng.uniform(0, 2 * np.pi)
    turn = length * _rotation(angle)
    low, high = (outline @ turn).min(0), (outline @ turn).max(0)
    nose = rng.uniform(2 - low, SIZE - 2 - high)
    return lambda polygon: polygon @ turn + nose


def _paint(rng, color):
    """Returns a strong RGB color near the named one, for markings and distractors alike."""
    hue = COLORS[color] + rng.uniform(-0.02, 0.02)
    return colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.8, 0.95), rng.uniform(0.75, 0.9))


def _distractors(rng, mask):
    """Yields (polygon, paint): gray blobs, then bands, discs and crosses in the markings' colors.

    Those that would touch the aircraft are left out, for they would look like its markings.
    """
    turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    disc = np.stack([np.cos(turns), np.sin(turns)], -1)
    band = np.array([[-1, -0.4], [1, -0.4], [1, 0.4], [-1, 0.4]])
    shapes = [band], [0.7 * disc], [band, band[:, ::-1]]

    for kind in ["blob"] * 3 + ["mark"] * 4:
        if kind == "blob":
            shape, radius = [disc * (1, rng.uniform(0.4, 1))], rng.uniform(5, 10)
            paint = (rng.uniform(0.6, 0.9),) * 3
        else:
            shape, radius = shapes[rng.integers(len(shapes))], rng.uniform(5, 9)
            paint = _paint(rng, rng.choice(list(COLORS)))
        center, turn = rng.uniform(0, SIZE, 2), radius * _rotation(rng.uniform(0, 2 * np.pi))
        left, top = np.maximum(center - radius, 0).astype(int)
        right, bottom = np.ceil(center + radius).astype(int)
        if not mask[top:bottom, left:right].any():
            for polygon in shape:
                yield polygon @ turn + center, paint


def _background(rng, texture):
    """Returns a uint8 (SIZE, SIZE, 3) picture of the texture, in two muted tints."""
    # A random origin gives every texture its phase.
    y, x = np.mgrid[:SIZE, :SIZE] - rng.uniform(0, SIZE, (2, 1, 1))
    turn = rng.uniform(0.85, 1.15) * _rotation(rng.uniform(-0.15, 0.15))
    u, v = np.moveaxis(np.stack([x, y], -1) @ turn, -1, 0)
    pattern = np.tanh(2 * list(TEXTURES.values())[texture](u, v, rng))
    hue = rng.uniform()
    saturation, dark, contrast = rng.uniform((0.1, 0.3, 0.15), (0.35, 0.45, 0.3))
    tints = [colorsys.hsv_to_rgb(hue, saturation, dark + step) for step in (0, contrast)]
    share = (0.5 + 0.5 * pattern)[..., None]
    return (255 * ((1 - share) * tints[0] + share * tints[1])).astype(np.uint8)


def _wave(cycles):
    return np.sin(2 * np.pi * cycles)


def _noise(rng, cells):
    """Returns smooth noise (SIZE, SIZE) of about unit variance, with `cells` bumps per side."""
    noise = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
    return np.asarray(noise.resize((SIZE, SIZE), Image.Resampling.BICUBIC))


# name -> pattern of about [-1, 1] from (SIZE, SIZE) pixel coordinates u (right) and v (down)
TEXTURES = {
    "broad_stripes": lambda u, v, rng: _wave(v / 24),
    "fine_stripes": lambda u, v, rng: _wave(u / 8),
    "diagonals": lambda u, v, rng: _wave((u + v) / 20),
    "checks": lambda u, v, rng: _wave(u / 22) * _wave(v / 22),
    "waves": lambda u, v, rng: _wave(v / 13 + 0.35 * _wave(u / 32)),
    "rings": lambda u, v, rng: _wave(np.hypot(u, v) / 13),
    "clouds": lambda u, v, rng: _noise(rng, 6),
    "speckle": lambda u, v, rng: _noise(rng, 42),
}


def _rotation(angle):
    """Returns the (2, 2) matrix that turns row vectors by `angle` (radians)."""
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def _fill(canvas, polygon, color):
    """Fills a polygon given in the picture frame with a color of one or three channels."""
    fill = tuple(round(255 * channel) for channel in color)
    ImageDraw.Draw(canvas).polygon((polygon * _SUPERSAMPLE).ravel().tolist(), fill=fill)
