"""How every figure looks, and a matplotlib figure → SVG that takes its ink from the page it stands in.

INK, FAINT, GRID and PAPER are places in matplotlib's cycle of colours, so whoever draws decides what they are. In SVG
they are stand-ins which become CSS variables: one figure serves light and dark pages and print. Identifiers are
prefixed, so that many figures can stand in one page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from html import escape
from importlib.util import find_spec
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.2
"""Inches; a page shows 72 units to an inch."""
INK, FAINT, GRID, PAPER = "C0", "C1", "C2", "C3"
"""Text, lesser text, lines, background."""
ABOVE, BELOW = "#2f7fd6", "#e0771b"
"""More and less than an even share."""
SHAPED = "#2f7fd6"

_METADATA = ("Date", "Creator", "Format", "Type")
_VARIABLES = {
    "#0a0b0c": "var(--ink)", "#0d0e0f": "var(--faint)", "#101112": "var(--grid)", "#131415": "var(--paper)",
}  # fmt: skip
# Of middling lightness, to be read on white and on near-black.
_PALETTE = ("#2f7fd6", "#1f9e77", "#e0771b", "#c2539d", "#8f6fd8", "#b38600", "#4aa3b8", "#d4504a")


class MissingMatplotlibError(RuntimeError):
    """Nothing can be drawn here."""


def look(ink: str, faint: str, grid: str, paper: str) -> dict[str, Any]:
    """Matplotlib's settings for a figure in these colours."""
    from cycler import cycler

    return {
        "axes.prop_cycle": cycler(color=[ink, faint, grid, paper]),
        "svg.fonttype": "none",
        "svg.hashsalt": "priorlang",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 8,
        "text.color": ink,
        "axes.titlesize": 8,
        "axes.labelsize": 8,
        "axes.labelcolor": faint,
        "axes.edgecolor": grid,
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": True,
        "xtick.color": grid,
        "xtick.labelcolor": faint,
        "xtick.labelsize": 7,
        "ytick.color": grid,
        "ytick.labelcolor": faint,
        "ytick.labelsize": 7,
        "grid.color": grid,
        "grid.linewidth": 0.6,
        "lines.linewidth": 1.4,
        "lines.solid_capstyle": "round",
        "text.parse_math": False,
    }


def draw(height: float, paint: Callable[[Figure], None], *, name: str, title: str, description: str) -> str:
    """Draw a figure.

    Args:
        height: inches.
        paint: fills the empty figure.
        name: unique in the page, for identifiers.
        title: what the figure shows, in a few words; a page shows them above it.
        description: what is to be seen in it, in words.

    Returns:
        An `<svg>` element; the same for the same input.

    Raises:
        MissingMatplotlibError: matplotlib is not installed.
    """
    require_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with matplotlib.rc_context(look(*_VARIABLES)):
        figure = Figure(figsize=(WIDTH, height))
        paint(figure)
        figure.savefig(buffer, format="svg", transparent=True, metadata=dict.fromkeys(_METADATA))
    return _for_page(buffer.getvalue(), height, name, title, description)


def require_matplotlib() -> None:
    """Raises MissingMatplotlibError where it is not installed."""
    if find_spec("matplotlib") is None:
        raise MissingMatplotlibError("figures need matplotlib")


def expert_colours(experts: int) -> list[str]:
    """A colour for each expert, the same in every figure."""
    if experts <= len(_PALETTE):
        return list(_PALETTE[:experts])
    return [_between(_PALETTE, place * (len(_PALETTE) - 1) / (experts - 1)) for place in range(experts)]


def evenly_spaced(count: int, at_most: int) -> list[int]:
    """Places out of `count`, first and last among them, where all would be too many."""
    if count <= at_most:
        return list(range(count))
    if at_most == 1:
        return [0]
    return sorted({round(place * (count - 1) / (at_most - 1)) for place in range(at_most)})


def identifiers(texts: Iterable[str]) -> list[str]:
    """Names of things as parts of names of figures: fit for identifiers and for files, none like another in any case."""
    found: list[str] = []
    for text in texts:
        plain = re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")[:60] or "unnamed"
        taken = {name.lower() for name in found}
        more = (f"{plain}-{number}" for number in count(2))
        found.append(plain if plain.lower() not in taken else next(n for n in more if n.lower() not in taken))
    return found


def label_width(names: Iterable[str], size: float = 8.0) -> float:
    """The part of a figure's width that row names need to the left of a panel, with the gap to it."""
    letters = max((len(name) for name in names), default=0)
    return (0.6 * size * letters + 12) / (72 * WIDTH)


def shortened(name: str, letters: int) -> str:
    """A name that fits, with `…` where its end is missing."""
    return name if len(name) <= letters else name[: letters - 1] + "…"


def bare(axes: Axes) -> None:
    """No frame but the baseline, no ticks on the side."""
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])


def _between(colours: tuple[str, ...], place: float) -> str:
    """A colour on the way from one to the next."""
    lower = min(int(place), len(colours) - 2)
    pairs = zip(_channels(colours[lower]), _channels(colours[lower + 1]), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * (place - lower)):02x}" for a, b in pairs)


def _channels(colour: str) -> list[int]:
    return [int(colour[start : start + 2], 16) for start in (1, 3, 5)]


def _for_page(svg: str, height: float, name: str, title: str, description: str) -> str:
    """The drawing alone: no prologue, no metadata, no global style, identifiers of its own."""
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    body = body.replace("xlink:href", "href")
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', body))
    body = re.sub(
        r' id="([^"]*)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", body
    )
    body = re.sub(r'(url\(|href=")#', rf"\1#{name}-", body)
    body = re.sub(r"font: ([^;\"]*?)(\d[\d.]*px)[^;\"]*", _font, body)
    for stand_in, variable in _VARIABLES.items():
        body = body.replace(stand_in, variable)
    body = re.sub(r"<[^>]+>", _to_a_hundredth, body)
    body = re.sub(r"\n\s*", "\n", body).strip()
    return (
        f'<svg class="chart" role="img" aria-labelledby="{name}-title {name}-text" '
        f'viewBox="0 0 {WIDTH * 72:g} {height * 72:g}">\n'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-text">{escape(description)}</desc>\n'
        f"{body}\n</svg>"
    )


def _to_a_hundredth(tag: re.Match[str]) -> str:
    """Places in points, where a hundredth is seen by nobody and six digits are most of a page."""
    return re.sub(r"-?\d+\.\d{3,}", lambda found: f"{round(float(found[0]), 2):g}", tag[0])


def _font(found: re.Match[str]) -> str:
    """The size and weight; the family is the page's."""
    weight = "; font-weight: bold" if "bold" in found[1] or "700" in found[1] else ""
    return f"font-size: {found[2]}{weight}"
