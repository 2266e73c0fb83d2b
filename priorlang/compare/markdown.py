"""A difference as Markdown that GitHub renders: for a pull request."""

from __future__ import annotations

from collections.abc import Sequence

from priorlang.compare.difference import Difference
from priorlang.compare.runs import RunComparison
from priorlang.compare.summary import (
    Change,
    changes_of,
    expert_moves,
    pooling_words,
    state_words,
    weight_words,
)

CHANGES_SHOWN = 10
MOST_CHANGES = 200
"""GitHub takes comments of 65,536 characters."""


def difference_markdown(
    difference: Difference, compared: RunComparison | None, *, everything: bool = False
) -> str:
    """A difference as GitHub-flavoured Markdown, what is long folded away."""
    parts = [f"### Prior: {code(difference.before)} → {code(difference.after)}", _verdict(difference)]
    parts += _declarations(difference)
    parts += _rules(difference)
    parts += _cells(difference, everything)
    if compared is not None:
        parts += _runs(compared)
    return "\n\n".join(part for part in parts if part)


def code(text: str) -> str:
    """Text as code that can stand in a table: no letter of it means anything."""
    flat = " ".join(text.split()) or "–"
    if "`" not in flat and "\\" not in flat:
        return "`" + flat.replace("|", r"\|") + "`"
    special = "&<>|`*_[]\\~"
    return f"<code>{''.join(f'&#{ord(letter)};' if letter in special else letter for letter in flat)}</code>"


def _verdict(difference: Difference) -> str:
    if difference.identical:
        return "**The priors ask for the same.**"
    changed = difference.changed_cells
    if not changed:
        return "**The priors differ, and no cell asks for anything else.**"
    return f"**{changed:,} of {difference.total_cells:,} cells ask for something else.**"


def _declarations(difference: Difference) -> list[str]:
    rows = []
    for item in difference.declarations:
        sides = [code(item.before) if item.before else "–", code(item.after) if item.after else "–"]
        if item.added or item.removed:
            sides = [f"− {code(', '.join(item.removed))}" if item.removed else ""]
            sides.append(f"+ {code(', '.join(item.added))}" if item.added else "")
        rows.append([f"{item.kind} {code(item.name) if item.name else ''}".strip(), *sides])
    return [_table(["declaration", "before", "after"], rows)] if rows else []


def _rules(difference: Difference) -> list[str]:
    rules, found = difference.rules, difference.expectations
    rows = [[f"removed {code(name)}", code(text), ""] for name, text in rules.removed]
    rows += [[f"added {code(name)}", "", code(text)] for name, text in rules.added]
    rows += [[f"changed {code(item.name)}", code(item.before), code(item.after)] for item in rules.changed]
    rows += [["renamed", code(before), code(after)] for before, after in rules.renamed]
    parts = [_folded_table(["rule", "before", "after"], rows, "rules")] if rows else []
    rows = [[code(text), ""] for text in found.removed] + [["", code(text)] for text in found.added]
    if rows:
        parts.append(_folded_table(["expectation before", "after"], rows, "expectations"))
    return parts


def _cells(difference: Difference, everything: bool) -> list[str]:
    changes = changes_of(difference, apart=everything)
    if not changes:
        return []
    header = ["where", "cells", "experts", "α", "mean", "load", "λ, populations", "KL"]
    shown = changes if everything else changes[:CHANGES_SHOWN]
    parts = [
        _table(header, [row for change in shown for row in _change_rows(change)]),
        "<sub>Largest effects first. KL(after ‖ before) in nats for each cell; load is the part of the top-k slots "
        "that the prior implies.</sub>",
    ]
    rest = changes[len(shown) :]
    if rest:
        regions = sum(len(change.regions) for change in rest)
        more = [row for change in rest[:MOST_CHANGES] for row in _change_rows(change)]
        beyond = len(rest) - MOST_CHANGES
        table = _table(header, more) + (f"\n\n… and {beyond} more changes." if beyond > 0 else "")
        parts.append(_folded(f"{regions} more regions", table))
    return parts


def _change_rows(change: Change) -> list[list[str]]:
    where, cells = code(change.where), f"{change.cells:,}"
    also = "; ".join(words for words in (weight_words(change), pooling_words(change)) if words)
    if not change.is_shaped:
        return [[where, cells, "", code(state_words(change)), "", "", "", ""]]
    if not change.moves_alpha:
        return [[where, cells, "", "as it was", "", "", also, "0"]]
    moves, more = expert_moves(change)
    rows = []
    for place, move in enumerate(moves):
        head = [where, cells] if place == 0 else ["", ""]
        tail = [also, change.kl] if place == 0 else ["", ""]
        rows.append([*head, code(move.experts), move.alpha, move.mean, move.load, *tail])
    if more:
        rows.append(["", "", f"… {more} more groups", "", "", "", "", ""])
    return rows


def _runs(compared: RunComparison) -> list[str]:
    parts = []
    if compared.routing:
        rows = [
            [code(item.kind), _number(item.ks[0]), _number(item.ks[1]), item.load_words]
            for item in compared.routing
        ]
        parts.append(_folded_table(["tokens", "KS before", "after", "load"], rows, "kinds of tokens"))
    parts += [f"No routing: {code(remark)}" for remark in compared.remarks]
    rows = [
        [code(item.stage), code(item.metric), _number(item.before), _number(item.after)]
        for item in compared.moved
    ]
    if rows:
        parts.append(_folded_table(["stage", "metric", "before", "after"], rows, "metrics"))
    return parts


def _folded_table(header: Sequence[str], rows: Sequence[Sequence[str]], what: str) -> str:
    table = _table(header, rows)
    return table if len(rows) <= CHANGES_SHOWN else _folded(f"{len(rows)} {what}", table)


def _folded(summary: str, inside: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{inside}\n\n</details>"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
