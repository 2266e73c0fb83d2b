"""Small words that figures and pages share."""

from __future__ import annotations

from collections.abc import Sequence

from priorlang.semantics.describe import index_set


def experts_in_words(experts: Sequence[int]) -> str:
    """`expert 3`, `experts 0..3`."""
    return f"expert{'s' if len(experts) > 1 else ''} {index_set(experts)}"


def percent(share: float) -> str:
    """A share in whole percent; never 100 % of what is not all, nor 0 % of what is something."""
    text = f"{100 * share:.0f}"
    if text == "100" and share < 1 - 1e-9:
        return "> 99 %"
    if text == "0" and share > 1e-9:
        return "< 1 %"
    return f"{text} %"


def shortened(text: str, letters: int) -> str:
    """A text that fits, cut with an ellipsis."""
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"
