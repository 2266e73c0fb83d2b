"""Which keywords may stand next, by the grammar itself."""

from __future__ import annotations

from collections.abc import Iterable

from priorlang.editor.words import Word, words_of
from priorlang.syntax.keywords import KEYWORDS, STATEMENT_KEYWORDS
from priorlang.syntax.parser import END, Reading

MAXIMUM_MISTAKES = 20
_EFFECTS = frozenset({"BASE", "PREFER", "AVOID", "WEIGHT", "UNSHAPED", "SPLIT"})
_CLAUSES = _EFFECTS | {"FOR"}


def expected_after(words: Iterable[Word], symbol: str = "fragment") -> frozenset[str]:
    """The terminals that may follow these words of one statement, or of one phrase.

    A word that the grammar has no place for is passed over, and a clause that begins too early begins
    all the same, so that a mistake does not end completion. `$END` among the terminals says that the
    statement may be over.
    """
    kept = list(words)
    for _ in range(MAXIMUM_MISTAKES):
        reading = Reading(symbol)
        for index, word in enumerate(kept):
            if not reading.feed(word.kind):
                early = symbol == "fragment" and word.kind in _CLAUSES
                kept = [*words_of("rule x:"), *kept[index:]] if early else [*kept[:index], *kept[index + 1 :]]
                break
        else:
            return reading.accepts()
    return frozenset()


def spent_clauses(words: Iterable[Word]) -> frozenset[str]:
    """The clauses that the grammar would take after these words of a rule or a default, and the compiler would not."""
    kinds = [word.kind for word in words]
    if not kinds or kinds[0] not in {"RULE", "DEFAULT"}:
        return frozenset()
    stated = _EFFECTS.intersection(kinds)
    spent = {"BASE", "WEIGHT"} & stated
    if "UNSHAPED" in stated:
        spent |= _EFFECTS
    elif stated:
        spent |= {"UNSHAPED"}
    if kinds[0] == "DEFAULT":
        spent |= {"PREFER", "AVOID"}
    return frozenset(kind.lower() for kind in spent)


def keywords_among(terminals: frozenset[str], *, statements: bool) -> list[str]:
    """The keywords among terminals; where a statement may end, those that begin the next."""
    found = {terminal.lower() for terminal in terminals} & KEYWORDS
    if statements and END in terminals:
        found |= set(STATEMENT_KEYWORDS)
    return sorted(found)
