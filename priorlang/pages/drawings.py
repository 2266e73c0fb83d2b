"""The drawings of a page as files of their own: black on white, for papers and slides."""

from __future__ import annotations

import re
from collections.abc import Mapping

from priorlang.pages.html import light_colours

_DRAWING = re.compile(r'<svg class="chart".*?</svg>', re.DOTALL)
_NAMED = re.compile(r'<title id="([^"]+)-title">')
_OPENING = re.compile(r'<svg class="chart" (.*?viewBox="0 0 ([\d.]+) ([\d.]+)")>')
_STYLE = "<style>* { stroke-linejoin: round; stroke-linecap: butt; }</style>"
_FONTS = "DejaVu Sans, Verdana, Helvetica, sans-serif"


def drawings(page: str) -> dict[str, str]:
    """Every drawing of a page, by its name there, as the text of an SVG file.

    Colours are those of the light page, written out: most programs that turn SVG into PDF know no CSS variables.
    """
    colours = light_colours()
    return {_name(drawing): _alone(drawing, colours) for drawing in _DRAWING.findall(page)}


def _name(drawing: str) -> str:
    found = _NAMED.search(drawing)
    assert found is not None, "a drawing has a title"
    return found[1]


def _alone(drawing: str, colours: Mapping[str, str]) -> str:
    """With the size, background, fonts and colours that the page gave."""
    for name, colour in colours.items():
        drawing = drawing.replace(f"var({name})", colour)
    opened = _OPENING.match(drawing)
    assert opened is not None, "a drawing has a size"
    width, height = opened[2], opened[3]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {opened[1]} width="{width}pt" height="{height}pt" '
        f'font-family="{_FONTS}">'
    )
    background = f'<rect width="{width}" height="{height}" fill="{colours["--paper"]}"/>'
    titled, end, rest = drawing[opened.end() :].partition("</desc>")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}{titled}{end}\n{_STYLE}\n{background}{rest}\n'
