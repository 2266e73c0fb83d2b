"""The few pieces of HTML that pages are made of. Every text that goes in is escaped here."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

MISSING = "–"
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.DOTALL)
_STYLE = Path(__file__).with_name("style.css")


@dataclass(frozen=True)
class Markup:
    """HTML that is ready; plain strings are text and get escaped."""

    html: str

    def __str__(self) -> str:
        return self.html


Content = str | Markup


def element(tag: str, *content: Content, **attributes: str) -> Markup:
    """An element. `class_` stands for `class`."""
    inside = "".join(render(part) for part in content)
    names = {name.rstrip("_"): value for name, value in attributes.items()}
    shown = "".join(f' {name}="{escape(value)}"' for name, value in names.items())
    return Markup(f"<{tag}{shown}>{inside}</{tag}>\n")


def render(content: Content) -> str:
    """Markup as it is, text escaped."""
    return content.html if isinstance(content, Markup) else escape(content)


def joined(parts: Iterable[Content | None]) -> Markup:
    """One after the other; None is nothing."""
    return Markup("".join(render(part) for part in parts if part is not None))


def document(title: str, *content: Content | None) -> str:
    """A whole page that needs nothing else: its style is inside."""
    head = element(
        "head",
        Markup(
            '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        ),
        element("title", title),
        element("style", Markup(_STYLE.read_text(encoding="utf-8"))),
    )
    body = element("body", element("main", joined(content)))
    return "<!doctype html>\n" + element("html", head, body, lang="en").html


def page_title(kind: str, name: str) -> str:
    """What a page of a folder is called: `Run digits`, and `Report of run1` where the name says already what it is."""
    return f"Report of {name}" if name.lower().startswith(kind.lower()) else f"{kind} {name}"


def light_colours() -> dict[str, str]:
    """What the page's CSS variables are on a light screen: `--ink` → `#1b1e23`."""
    on_light = _STYLE.read_text(encoding="utf-8").partition("}")[0]
    return dict(re.findall(r"(--\w+): (#\w+)", on_light))


def section(title: str, *content: Content | None) -> Markup:
    """A chapter of the page."""
    return element("section", element("h2", title), joined(content))


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "", texts: int = 1
) -> Markup | None:
    """A table that scrolls sideways where it must; None without rows.

    Args:
        header: of each column.
        rows: the cells; the first of each heads its row.
        caption: what the table says.
        texts: so many columns, from the left, hold words; the others hold numbers.
    """
    if not rows:
        return None

    def cell(tag: str, place: int, text: str, **attributes: str) -> Markup:
        return element(tag, text, **(attributes | {"class_": "text"} if place < texts else attributes))

    head = element("tr", *(cell("th", place, text, scope="col") for place, text in enumerate(header)))
    body = [
        element(
            "tr",
            *(
                cell("th", place, text, scope="row") if place == 0 else cell("td", place, text)
                for place, text in enumerate(row)
            ),
        )
        for row in rows
    ]
    inner = element("table", element("thead", head), element("tbody", *body))
    # Not a <caption>: it would scroll sideways with a wide table.
    described = element("p", caption, class_="faint") if caption else None
    return joined([described, element("div", inner, class_="wide")])


def figure(svg: str | None, caption: str, heading: str | None = "h3") -> Markup | None:
    """A drawing under its own title, with its caption, if any; None without a drawing.

    Args:
        svg: with a `<title>`.
        caption: what stands below.
        heading: the tag of the title; None where what stands above the figure says it already.
    """
    if svg is None:
        return None
    title = _TITLE.search(svg)
    above = element(heading, Markup(title[1])) if heading is not None and title is not None else ""
    below = element("figcaption", caption) if caption else ""
    return element("figure", above, element("div", Markup(svg), class_="wide"), below)


def folded(summary: str, *content: Content | None) -> Markup:
    """What only some readers look for."""
    return element("details", element("summary", summary), joined(content))


def bullets(sentences: Sequence[str]) -> Markup | None:
    """A list; None without sentences."""
    return element("ul", *(element("li", sentence) for sentence in sentences)) if sentences else None


def fixed(value: float, digits: int = 2) -> str:
    """So many digits after the point; a dash for what is no finite number."""
    return f"{value:.{digits}f}" if math.isfinite(value) else MISSING


def compact(value: float) -> str:
    """Three significant digits; a dash for what is no finite number."""
    return f"{value:.3g}" if math.isfinite(value) else MISSING
