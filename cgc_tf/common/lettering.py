"""Text in figures, drawn as it is: in a font that has its letters, in lines that fit, and never read as a formula."""

import bisect
import functools
from collections.abc import Iterable
from contextlib import AbstractContextManager

import matplotlib
from matplotlib import font_manager
from matplotlib.textpath import text_to_path

FAMILY = "DejaVu Sans"  # which comes with matplotlib
MISSING = "□"
END = 8  # letters of a text that is cut: long names often differ there, and figures stand there
LAST_RESORT = "Last Resort"  # also comes with it: a box for every letter there is
_noted = set()


def styled(texts: Iterable[str]) -> AbstractContextManager:
    """Matplotlib's settings for drawing and saving figures with these texts, a context: fonts that have their letters.

    A note names the letters that no installed font has, once.
    """
    letters = frozenset("".join(texts))
    if new := _of_no_font(letters) - _noted:
        _noted.update(new)
        some = "".join(sorted(new)[:12])
        print(f"note: no installed font has {some}; figures show {MISSING}. Install one, such as Noto Sans CJK")
    return matplotlib.rc_context(
        {
            "font.family": [FAMILY, *_fonts_for(letters)],
            "text.parse_math": False,
            "figure.constrained_layout.use": True,  # room for texts of however many lines
            "savefig.bbox": "tight",  # which grows the figure, where they need more
            "savefig.pad_inches": 0.05,
            "savefig.dpi": 130,
        }
    )


def fitted(text: str, inches: float, points: float, lines: int = 2) -> str:
    """A text in at most so many lines of a width in inches; of what is too much the end is kept, after an `…`.

    Lines are broken at spaces, or within a word that is wider than a line; letters, of a size in points, that no
    installed font has are `MISSING`. To be called within `styled`.
    """
    missing = _of_no_font(frozenset(text))
    rest, broken = "".join(MISSING if letter in missing else letter for letter in text).strip(), []
    while rest and len(broken) < lines:
        count = _letters_that_fit(rest, inches, points)
        space = rest.rfind(" ", 1, count + 1)
        if count < len(rest) and space > 0:
            count = space
        broken.append(rest[:count].strip())
        rest = rest[count:].strip()
    if rest:
        last, end = broken.pop(), f"…{rest[-END:].lstrip()}"
        broken.append(last[: _letters_that_fit(last, inches - _width(end, points), points)].strip() + end)
    return "\n".join(broken)


def _letters_that_fit(text, inches, points):
    """How many letters of a text one line takes, at least one."""
    counts = range(2, len(text) + 1)
    return 1 + bisect.bisect_right(counts, inches, key=lambda count: _width(text[:count], points))


def _width(text, points):
    """Inches that a text takes in the fonts now set."""
    properties = font_manager.FontProperties(size=points)
    return text_to_path.get_text_width_height_descent(text, properties, ismath=False)[0] / 72


@functools.cache
def _own():
    return _letters_of(font_manager.findfont(FAMILY))


@functools.cache
def _others():
    """{name: letters} of the other fonts that are installed."""
    known = {font.fname for font in font_manager.fontManager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known:  # installed since matplotlib last looked
            font_manager.fontManager.addfont(path)
    fonts = {font.name: font.fname for font in font_manager.fontManager.ttflist if font.style == "normal"}
    return {name: _letters_of(path) for name, path in fonts.items() if not name.startswith(LAST_RESORT)}


def _letters_of(path):
    return frozenset(map(chr, font_manager.get_font(path).get_charmap()))


def _fonts_for(letters):
    """Names of the installed fonts for the letters that matplotlib's own does not have, few rather than many."""
    wanted, chosen = letters - _own() - _of_no_font(letters), []
    while wanted:
        chosen.append(max(_others(), key=lambda name: len(wanted & _others()[name])))
        wanted -= _others()[chosen[-1]]
    return chosen


def _of_no_font(letters):
    unknown = letters - _own()
    return unknown.difference(*_others().values()) if unknown else unknown
