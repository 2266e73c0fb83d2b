"""Did you mean …?"""

from __future__ import annotations

from collections.abc import Iterable


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word nearest to `word`, or None where none is near."""
    return next(iter(nearest(word, known, 1)), None)


def nearest(word: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The known words that are near to `word`, nearest first."""
    from difflib import get_close_matches

    folded = {candidate.casefold(): candidate for candidate in known}
    return [folded[match] for match in get_close_matches(word.casefold(), folded, n=limit, cutoff=0.6)]


def listing(words: Iterable[str], limit: int = 8) -> str:
    """Words for a message: `a, b, c`, cut with a count where they are many."""
    items = list(words)
    shown = ", ".join(items[:limit])
    return shown if len(items) <= limit else f"{shown} and {len(items) - limit} more"
