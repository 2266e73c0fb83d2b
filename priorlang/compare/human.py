"""A difference on a screen: the largest effects first, the rest counted."""

from __future__ import annotations

from collections.abc import Sequence

from priorlang.compare.declarations import Declaration
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
from priorlang.compare.summary import (
    runs as written,
)

CHANGES_SHOWN, RULES_SHOWN, METRICS_SHOWN, KINDS_SHOWN = 8, 8, 24, 8
REST = "`--all` prints them"


def difference_text(
    difference: Difference, compared: RunComparison | None, *, everything: bool = False
) -> str:
    """A difference for people."""
    lines = ["the priors ask for the same"] if difference.identical else []
    lines += [_declaration(item) for item in difference.declarations]
    lines += _cut(_rule_lines(difference), RULES_SHOWN, "rules", everything)
    lines += _cut(_expectation_lines(difference), RULES_SHOWN, "expectations", everything)
    lines += _cell_lines(difference, everything)
    if compared is not None:
        lines += _run_lines(compared, everything)
    return "\n".join(lines).lstrip("\n")


def _declaration(item: Declaration) -> str:
    what = f"{item.kind} {item.name}".strip()
    if item.added or item.removed:
        parts = [f"+ {', '.join(item.added)}"] if item.added else []
        parts += [f"- {', '.join(item.removed)}"] if item.removed else []
        return f"{what}: {'; '.join(parts)}"
    return f"{what}: {item.before or '(none)'} → {item.after or '(none)'}"


def _rule_lines(difference: Difference) -> list[str]:
    rules = difference.rules
    lines = [f"- rule {name}: {text}" for name, text in rules.removed]
    lines += [f"+ rule {name}: {text}" for name, text in rules.added]
    for change in rules.changed:
        lines.append(f"~ rule {change.name}: {change.before}\n{'':{len(change.name) + 5}}→ {change.after}")
    lines += [f"= rule {before} is now called {after}" for before, after in rules.renamed]
    return lines


def _expectation_lines(difference: Difference) -> list[str]:
    found = difference.expectations
    return [*(f"- {text}" for text in found.removed), *(f"+ {text}" for text in found.added)]


def _cell_lines(difference: Difference, everything: bool) -> list[str]:
    if not difference.regions:
        return []
    changes = changes_of(difference, apart=everything)
    lines = [
        f"\n{difference.changed_cells:,} of {difference.total_cells:,} cells changed; "
        "KL(after ‖ before) in nats for each cell, load as a part of the top-k slots:"
    ]
    shown = changes if everything else changes[:CHANGES_SHOWN]
    for change in shown:
        lines += _change_lines(change)
    rest = changes[len(shown) :]
    if rest:
        regions = sum(len(change.regions) for change in rest)
        cells = sum(change.cells for change in rest)
        lines.append(
            f"  … and {regions} more region{'s' if regions != 1 else ''} with {cells:,} "
            f"cell{'s' if cells != 1 else ''} ({REST})"
        )
    return lines


def _change_lines(change: Change) -> list[str]:
    count = f"{change.cells:,} cell{'s' if change.cells != 1 else ''}"
    strength = f"  KL {change.kl}" if change.is_shaped and change.moves_alpha else ""
    lines = [f"  {change.where}  ({count}){strength}"]
    if not change.is_shaped:
        return [*lines, f"    {state_words(change)}"]
    if change.moves_alpha:
        moves, more = expert_moves(change)
        for move in moves:
            parts = [f"α {move.alpha}"] if move.alpha else []
            parts += [f"mean {move.mean}"] if move.mean else []
            parts += [f"load {move.load}"] if move.load else []
            lines.append(f"    experts {move.experts}: {', '.join(parts)}")
        if more:
            lines.append(f"    … and {more} more group{'s' if more > 1 else ''} of experts")
    elif weight_words(change) or pooling_words(change):
        alpha = {region.alpha[0] for region in change.regions}
        (first, *_) = alpha
        lines.append(f"    α {written(first or ()) if len(alpha) == 1 else 'as it was'}")
    lines += [f"    {words}" for words in (weight_words(change), pooling_words(change)) if words]
    return lines


def _run_lines(compared: RunComparison, everything: bool) -> list[str]:
    if not compared.metrics and not compared.routing:
        return ["\nneither run has metrics yet"]
    lines = []
    if compared.routing:
        lines.append(
            "\nrouting at the end: KS distance to the run's own prior (median over layers), and load"
        )
        kinds = [
            f"  {item.kind}: KS {_number(item.ks[0])} → {_number(item.ks[1])}"
            + (f", {item.load_words}" if item.load_words else "")
            for item in compared.routing
        ]
        lines += _cut(kinds, KINDS_SHOWN, "kinds of tokens", everything)
    lines += [f"\nno routing: {remark}" for remark in compared.remarks]
    if compared.metrics:
        lines.append("\nat the end of each stage:")
        shown = compared.metrics if everything else compared.moved
        rows = [
            f"  {item.stage:<20} {item.metric:<28} {_number(item.before)} → {_number(item.after)}"
            for item in shown
        ]
        lines += _cut(rows, METRICS_SHOWN, "metrics", everything)
        if same := len(compared.metrics) - len(shown):
            lines.append(f"  {same} metric{'s are' if same > 1 else ' is'} the same")
    return lines


def _cut(lines: Sequence[str], most: int, what: str, everything: bool) -> list[str]:
    if everything or len(lines) <= most:
        return list(lines)
    return [*lines[:most], f"  … and {len(lines) - most} more {what} ({REST})"]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
