"""Cutting a file that does not parse into statements, so that one pass reports every error.

A statement begins at a statement keyword. Two of them, `experts` and `layers`, also stand inside
statements: after `in` and `over`, and before `=` as settings of `model`. A statement that cannot be read is
cut again where a line begins as a statement does, but for the spelling of its keyword.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from priorlang.diagnostics.suggest import closest
from priorlang.records import Record
from priorlang.syntax.keywords import KEYWORDS, STATEMENT_KEYWORDS

_WORD = re.compile(
    r"""(?P<skip>\#[^\n]*|"[^"\n]*"?|\s+)
      | (?P<word>\$?[A-Za-z_][\w-]*(?:[./][\w-]+)*)
      | (?P<other>.)""",
    re.VERBOSE,
)
_STARTS = frozenset((*STATEMENT_KEYWORDS, "priorlang"))
_BRACE = re.compile(r'"[^"\n]*"|#[^\n]*|[{}]')
_LINE_WORD = re.compile(
    r"""\#[^\n]*|"[^"\n]*"?|(?P<brace>[{}])
      | (?<=\n)(?P<indent>[ \t]*)(?P<word>[A-Za-z_][\w-]*)(?![\w./-])
        (?=(?:[^\S\n]+(?P<name>"[^"\n]*"|\w[\w./-]*)\s*[:={])?)""",
    re.VERBOSE,
)
_SHALLOW = 3
"""Columns by which a statement may be indented and a clause hardly is."""
MAXIMUM_DEPTH = 40
"""Of braces in either form of the language, and of lists and mappings in YAML."""


class Chunk(Record):
    """The text of one statement and the place of its first character."""

    keyword: str
    text: str
    line: int
    column: int


MAXIMUM_WORDS = 200_000
_ANY_WORD = re.compile(r'#[^\n]*|("[^"\n]*"?|[\w.$/-]+|[^\s\w])')


def too_long(text: str) -> bool:
    """Whether a text has more words than a prior may; thousands of rules have fewer. Comments are free."""
    if len(text) <= MAXIMUM_WORDS:
        return False
    return sum(found[1] is not None for found in _ANY_WORD.finditer(text)) > MAXIMUM_WORDS


def statements_of(text: str) -> Iterator[Chunk]:
    """Cut `text` at statement keywords; text before the first is a chunk with an empty keyword."""
    starts = list(_statement_starts(text))
    head = text[: starts[0][0] if starts else len(text)]
    if any(not found[0].isspace() and found[0][0] != "#" for found in _WORD.finditer(head)):
        starts.insert(0, (0, ""))
    ends = [*(begin for begin, _ in starts[1:]), len(text)]
    line, counted = 1, 0
    for (begin, keyword), end in zip(starts, ends, strict=False):
        line += text.count("\n", counted, begin)
        line_start = text.rfind("\n", 0, begin) + 1
        counted = begin
        yield Chunk(keyword, text[begin:end], line, begin - line_start + 1)


def pieces_of(chunk: Chunk) -> list[Chunk]:
    """Cut a statement where a line may begin another one, whose keyword is misspelt."""
    starts, depth = [(0, chunk.keyword)], 0
    for found in _LINE_WORD.finditer(chunk.text):
        if found["brace"]:
            depth = max(0, depth + (1 if found["brace"] == "{" else -1))
        elif found["word"] and _may_begin(found["word"], found["name"], found["indent"], inside=depth > 0):
            depth = 0
            starts.append((found.start("word"), closest(found["word"], STATEMENT_KEYWORDS) or ""))
    ends = [*(begin for begin, _ in starts[1:]), len(chunk.text)]
    return [
        Chunk(
            keyword,
            chunk.text[begin:end],
            chunk.line + chunk.text.count("\n", 0, begin),
            begin - chunk.text.rfind("\n", 0, begin) if begin else chunk.column,
        )
        for (begin, keyword), end in zip(starts, ends, strict=True)
    ]


def declared_name(keyword: str, text: str) -> str | None:
    """The name that a broken statement was about to declare, if that much is plain."""
    if keyword not in {"attribute", "experts", "layers", "param", "rule"}:
        return None
    found = re.match(r'\S+\s+("[^"\n]*"|[A-Za-z_][\w-]*(?:[./][\w-]+)*)', text)
    return found[1].strip('"') if found else None


def too_deep(text: str) -> int | None:
    """The offset of the first brace that nests deeper than a prior may; the tree is walked recursively."""
    if text.count("{") <= MAXIMUM_DEPTH:
        return None
    depth = 0
    for found in _BRACE.finditer(text):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth > MAXIMUM_DEPTH:
            return found.start()
        if depth < 0:
            depth = 0
    return None


def _may_begin(word: str, name: str | None, indent: str, *, inside: bool) -> bool:
    """Whether the first word of a line is meant for a statement keyword: `rul c:`, or close to one.

    Deep in a line, or inside of a brace that may only lack its end, both have to hold.
    """
    if word in KEYWORDS:
        return False
    headed = name is not None and name not in KEYWORDS
    if headed and len(indent) <= _SHALLOW and not inside:
        return True
    close = closest(word, sorted(KEYWORDS)) in STATEMENT_KEYWORDS
    return close and (headed or not (indent or inside))


def _statement_starts(text: str) -> Iterator[tuple[int, str]]:
    words = [
        (found["word"] or found["other"], found.start())
        for found in _WORD.finditer(text)
        if not found["skip"]
    ]
    for index, (word, place) in enumerate(words):
        if word not in _STARTS:
            continue
        before = words[index - 1][0] if index else ""
        after = words[index + 1][0] if index + 1 < len(words) else ""
        if word in {"layers", "experts"} and (before in {"in", "over"} or after == "="):
            continue
        yield place, word
