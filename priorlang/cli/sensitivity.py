"""`--sensitivity` of `validate`: a table of what each number does, and the same as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from priorlang.checks.sensitivity import sensitivity_of
from priorlang.checks.shares import certain_shares, evidence_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from priorlang.checks.sensitivity import Move, Sensitivity
    from priorlang.phases import Prior

NO_EFFECT = 5e-4
"""Changes below this are none, in a table of three digits."""


def sensitivity(prior: Prior) -> tuple[str, dict[str, Any]]:
    """What each number of a sound prior does: as a table, and as a document.

    Raises:
        PriorError: there are too many numbers.
    """
    given = prior.evidence
    shares = evidence_of(prior.spec, given.shares, None, given.place).shares or certain_shares(prior.spec)
    found = sensitivity_of(prior, shares)
    document = {
        "step": 0.2,
        "load": "of all tokens" if shares else "of the tokens of a cell",
        "numbers": [_json(item) for item in found],
    }
    return _table(found, over_tokens=shares is not None, note=shares.note if shares else ""), document


def _table(found: Sequence[Sensitivity], *, over_tokens: bool, note: str) -> str:
    if not found:
        return "sensitivity: the file states no number that could move"
    what = (
        f"the load of all tokens{note}"
        if over_tokens
        else "the load of a cell's own tokens; --shares gives that of all"
    )
    lines = [f"sensitivity to ±20 % of each number, largest first: {what}, 1 where even; and means", ""]
    rows = [["", "−20 %", "now", "+20 %", "", "−20 %", "now", "+20 %", "where"]]
    for item in found:
        rows.append([item.name, item.less, item.now, item.more, "", "", "", "", ""])
        for kind, move in (("load", item.load), ("mean", item.mean)):
            if move is None:
                rows[-1][4] = f"not possible: {item.problems[0]}"
            elif move.largest < NO_EFFECT:
                rows.append(["", "", "", "", f"{kind}s stay", "", "", "", ""])
            else:
                figures = [_number(value) for value in (move.less, move.now, move.more)]
                rows.append(["", "", "", "", f"{kind} of expert {move.expert}", *figures, _place(move)])
    return "\n".join([*lines, *_aligned(_folded(rows))])


def _folded(rows: list[list[str]]) -> list[list[str]]:
    """The first figure of a number stands on the line of its name."""
    folded: list[list[str]] = []
    for row in rows:
        if folded and not row[0] and folded[-1][0] and not folded[-1][4]:
            folded[-1][4:] = row[4:]
        else:
            folded.append(row)
    return folded


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [
        max(len(row[column]) for row in rows if "not possible" not in row[column]) for column in range(9)
    ]
    right = {1, 2, 3, 5, 6, 7}
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _place(move: Move) -> str:
    return " ".join(f"{name}={value}" for name, value in move.where.items())


def _json(item: Sensitivity) -> dict[str, Any]:
    return {
        "name": item.name,
        "values": [item.less, item.now, item.more],
        "load": _move_json(item.load),
        "mean": _move_json(item.mean),
        "problems": list(item.problems),
    }


def _move_json(move: Move | None) -> dict[str, Any] | None:
    if move is None:
        return None
    return {
        "expert": move.expert,
        "where": dict(move.where),
        "less": move.less,
        "now": move.now,
        "more": move.more,
    }
