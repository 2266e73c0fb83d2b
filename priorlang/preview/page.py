"""A View → one HTML page that needs nothing else, or one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from priorlang.pages.html import Markup, bullets, document, element, figure, folded, joined, section, table
from priorlang.pages.picture import Drawing, picture
from priorlang.preview.load import load_drawings
from priorlang.preview.marginals import marginal_drawings
from priorlang.preview.simplex import simplex_drawing
from priorlang.preview.view import AskedPrior, View, expert_groups
from priorlang.preview.words import experts_in_words, percent
from priorlang.semantics.describe import index_set

MOST_LINES = 60
"""Priors that the table of numbers lists."""

Triple = tuple[int, int, int]


def preview_html(name: str, view: View, triples: Sequence[Triple]) -> str:
    """The page; the same for the same input. Raises MissingMatplotlibError."""
    parts = [
        section(
            title,
            *(figure(drawing.svg, drawing.caption, heading=None) for drawing in drawings),
            _numbers(view) if place == 0 else None,
        )
        for place, (title, drawings) in enumerate(
            groupby(drawings_of(view, triples), lambda drawing: drawing.title)
        )
    ]
    return document(
        f"{name} · priorlang preview",
        element("h1", f"What {name} asks for"),
        element("p", extent(view), class_="faint"),
        bullets(sentences(view)),
        *parts,
    )


def preview_png(name: str, view: View, triples: Sequence[Triple]) -> bytes:
    """The picture; the same for the same input. Raises MissingMatplotlibError."""
    return picture(f"What {name} asks for", [extent(view), *sentences(view)], drawings_of(view, triples))


def drawings_of(view: View, triples: Sequence[Triple]) -> list[Drawing]:
    """Every figure of a view, in order."""
    triangles = [
        simplex_drawing(view, triple, name=f"simplex-{place}") for place, triple in enumerate(triples)
    ]
    return [*marginal_drawings(view), *load_drawings(view), *(drawing for drawing in triangles if drawing)]


def extent(view: View) -> str:
    """How much there is, in a line."""
    count = len(view.priors)
    return (
        f"{view.experts} experts, of which a token goes to {view.top_k} · {view.cells:,} cells · "
        f"{count:,} distinct prior{'s' if count != 1 else ''}"
    )


def sentences(view: View) -> list[str]:
    """What a reader should know first."""
    said = []
    if not view.priors:
        return ["Every cell is unshaped: the loss leaves all tokens alone."]
    if view.unshaped:
        said.append(
            f"{view.unshaped:,} of {view.cells:,} cells are unshaped: the loss leaves their tokens alone."
        )
    symmetric = [prior for prior in view.priors if (prior.alpha == prior.alpha[0]).all()]
    if len(symmetric) == len(view.priors):
        said.append("No expert is preferred anywhere: every prior is symmetric.")
        return said
    if symmetric:
        cells = sum(prior.cells for prior in symmetric)
        said.append(f"No expert is preferred in {cells:,} of {view.cells:,} cells: their prior is symmetric.")
    strongest = max(view.priors, key=_lead)
    groups = expert_groups(strongest.alpha, view.top_k)
    first, last = (
        f"{experts_in_words(group.experts)} (mean {group.mean:.3f}, in the top {view.top_k} of "
        f"{percent(group.enters)} of tokens)"
        for group in (groups[0], groups[-1])
    )
    said.append(f"The strongest preference is that of prior {strongest.number}, for {first} over {last}.")
    return said


def _lead(prior: AskedPrior) -> float:
    """How far apart the means of the most and the least preferred expert are."""
    return float((prior.alpha.max() - prior.alpha.min()) / prior.alpha.sum())


def _numbers(view: View) -> Markup:
    """Every number of the first figure as text, folded away."""
    rows = [
        [
            f"{prior.number}",
            prior.where,
            index_set(group.experts),
            f"{group.alpha:.6g}",
            f"{group.mean:.4f}",
            f"{group.enters:.4f}",
            f"{group.mean * view.experts:.2f}×",
            " – ".join(f"{weight:.4g}" for weight in sorted({prior.weights[0], prior.weights[-1]})),
        ]
        for prior in view.priors[:MOST_LINES]
        for group in expert_groups(prior.alpha, view.top_k)[:MOST_LINES]
    ]
    header = ["prior", "where", "experts", "α", "mean", f"P(in top {view.top_k})", "of an even share", "λ"]
    rest = len(view.priors) - MOST_LINES
    remark = (
        element("p", f"… and {rest:,} more priors; --at picks them.", class_="faint") if rest > 0 else None
    )
    return joined([folded("The numbers", table(header, rows, texts=3), remark)])
