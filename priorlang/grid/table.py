"""The table of a grid in Markdown, laid out so that a terminal shows it as well. No row is set apart from the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from priorlang.grid.digits import NOTHING, WINS, decimals, summary_text
from priorlang.grid.document import Document
from priorlang.grid.notes import notes
from priorlang.grid.paired import CONFIDENCE, Paired
from priorlang.grid.plan import Metric


def render(document: Document) -> str:
    """Means with their spread, then the differences to the reference, then what the numbers do not say."""
    parts = [*_means(document), *_differences(document), *_search(document), *_failed(document)]
    remarks = "\n".join(f"- {note}" for note in notes(document))
    return "\n\n".join([*parts, "What the numbers do not say:", remarks]) + "\n"


def _means(document: Document) -> Iterator[str]:
    yield "Mean ± standard deviation over seeds. A number in brackets is the number of seeds, where it is not that of the row."
    header = ["variant", "n", *(metric.title for metric in document.plan.metrics)]
    rows = []
    for row in document.rows:
        n = max((found.n for found in row.summary.values() if found), default=0)
        cells = [
            summary_text(row.summary[metric.name], n, _spread_digits(document, metric))
            for metric in document.plan.metrics
        ]
        rows.append([row.variant, str(n), *cells])
    yield markdown(header, rows)


def _differences(document: Document) -> Iterator[str]:
    reference = document.plan.reference_name
    for metric in document.plan.metrics:
        compared = [
            (row.variant, found)
            for row in document.rows
            if metric.paired and row.variant != reference and (found := row.difference[metric.name])
        ]
        digits = decimals([found.se or abs(found.mean) for _, found in compared])
        rows = [[variant, *_difference_cells(found, digits)] for variant, found in compared]
        if rows:
            yield f"{metric.title}, minus {reference} on the same seed ({WINS[metric.wins]}):"
            yield markdown(["variant", "n", "difference ± SE", f"{CONFIDENCE:.0%} interval", "wins"], rows)


def _difference_cells(found: Paired, digits: int) -> list[str]:
    if found.se is None or found.low is None or found.high is None:
        return [str(found.n), f"{found.mean:+.{digits}f}", NOTHING, f"{found.wins} of {found.n}"]
    return [
        str(found.n),
        f"{found.mean:+.{digits}f} ± {found.se:.{digits}f}",
        f"{found.low:+.{digits}f} to {found.high:+.{digits}f}",
        f"{found.wins} of {found.n}",
    ]


def _search(document: Document) -> Iterator[str]:
    search = document.plan.search
    if search is None:
        return
    seeds = ", ".join(map(str, search.seeds))
    yield (
        f"Settings. Every method with a parameter tried {search.settings} values of one, on seed {seeds}; the best "
        f"{search.metric.title} there was taken. Rows without a parameter have none to choose."
    )
    rows = []
    for row in document.rows:
        choice = row.choice
        if choice is None:
            rows.append([row.variant, NOTHING, NOTHING, NOTHING])
            continue
        tried = ", ".join(
            f"{item.value}: {NOTHING if item.mean is None else f'{item.mean:.4f}'}" for item in choice.tried
        )
        taken = NOTHING if choice.best is None else str(choice.value)
        rows.append([row.variant, choice.path, tried, taken])
    yield markdown(["variant", "parameter", "tried", "taken"], rows)


def _failed(document: Document) -> Iterator[str]:
    if document.failed:
        yield "Cells that failed:\n\n" + "\n".join(
            f"- {variant}, seed {seed}: {error}" for variant, seed, error in document.failed
        )


def _spread_digits(document: Document, metric: Metric) -> int:
    """One number of decimals for a column."""
    found = [summary for row in document.rows if (summary := row.summary[metric.name])]
    spreads = [summary.sd for summary in found if summary.sd is not None]
    return decimals(spreads or [abs(summary.mean) / 100 for summary in found])


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns stand below each other: names to the left, numbers to the right."""
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = (
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join([first, *rest]) + " |"

    rule = (
        "|"
        + "|".join("-" * (width + 2) if i == 0 else "-" * (width + 1) + ":" for i, width in enumerate(widths))
        + "|"
    )
    return "\n".join([line(header), rule, *(line(row) for row in rows)])
