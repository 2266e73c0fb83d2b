"""What the grammar has no place for → a finding in the words of the language."""

from __future__ import annotations

import re

from priorlang.diagnostics.finding import Edit, Finding, Fix, Severity
from priorlang.diagnostics.span import Span
from priorlang.diagnostics.suggest import closest
from priorlang.syntax.builder import Origin
from priorlang.syntax.keywords import KEYWORDS, STATEMENT_KEYWORDS
from priorlang.syntax.parser import MisreadError

_SPELLED = {
    "NAME": "a name",
    "STRING": "a quoted text",
    "NUMBER": "a number",
    "REFERENCE": "a parameter",
    "PARAM_NAME": "a name",
    "PERCENT": "a percentage",
    "COMPARE": "a comparison sign",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "COMMA": "`,`",
    "COLON": "`:`",
    "EQUAL": "`=`",
    "VBAR": "`|`",
    "DOTS": "`..`",
    "$END": "the end",
}
_WORD_AT = re.compile(r'"[^"\n]*"?|\$?[A-Za-z_][\w-]*(?:[./][\w-]+)*|-?\d[\w.%]*|[<>=!]+|.', re.DOTALL)
_EXPECTED_SHOWN = 6


def syntax_finding(error: MisreadError, text: str, origin: Origin) -> Finding:
    """The `syntax-error` of what stopped the parser in `text`."""
    place = text_place(error, text)
    word = _word_at(text, place)
    span = origin.span(*line_column(text, place), *line_column(text, place + len(word)))
    message, fix = _diagnose(word, text, place, error.expected, span)
    return Finding("syntax-error", Severity.ERROR, message, span, fix=fix)


def text_place(error: MisreadError, text: str) -> int:
    """Where in `text` reading stopped: an offset; the end of the last word where the text ran out."""
    return len(_without_comments(text).rstrip()) if error.offset is None else error.offset


def _diagnose(
    word: str, text: str, place: int, expected: frozenset[str], span: Span
) -> tuple[str, Fix | None]:
    """The message and, where there is one, the fix. The first case that fits speaks."""
    wants_name = bool(expected & {"NAME", "PARAM_NAME"})
    if not word:
        return f"the statement is not finished: {_wanted(expected)}", None
    if word in KEYWORDS and wants_name and "STRING" in expected:
        fix = Fix(f'quote it: "{word}"', (Edit(span, f'"{word}"'),))
        return f"`{word}` is a keyword of the language, so as a name it must be quoted", fix
    if word in {"for", "in"} and "$END" in expected and text.lstrip().startswith("rule"):
        return f"`{word} …` stands before what the rule does: `rule name: for … in layers … prefer …`", None
    if word.startswith("-"):
        return "numbers are never negative; to lower a concentration, write `avoid … by`", None
    if word in {"==", "!="}:
        return f"`{word}` is no comparison; there are <, <=, =, >= and >", None
    if word == "=" and text[:place].endswith("="):
        return "`==` is written `=`", Fix("write `=`", (Edit(span, ""),))
    if wants_name and re.match(r"\d+[A-Za-z_]", word):
        quoted = f'"{word}"'
        return f"a name that begins with a digit must be quoted: {quoted}", Fix(
            "quote it", (Edit(span, quoted),)
        )
    if word.startswith('"') and (len(word) == 1 or not word.endswith('"')):
        return "the quoted text does not end on its line", None
    if word.startswith('"') and wants_name:
        return "this name takes letters, digits, `_` and `-`, without quotes", None
    glued = re.search(r"\d[\w.]*$", text[:place])
    if glued and re.match(r"[A-Za-z_]", word) and "STRING" not in expected:
        return f'a name that begins with a digit must be quoted: "{glued[0]}{word}"', None
    if word in {",", "or", "and"} and "VBAR" in expected:
        return f"the members of a set are joined by `|`, not by `{word}`", Fix(
            "write `|`", (Edit(span, " |"),)
        )
    suggestion = closest(word, _keywords_among(expected)) if word[0].isalpha() else None
    if suggestion:
        return (
            f"`{word}` is not understood here; did you mean `{suggestion}`?",
            Fix(f"write `{suggestion}`", (Edit(span, suggestion),)),
        )
    shown = word if len(word) <= 40 else word[:37] + "…"
    return f"`{shown}` is not understood here: {_wanted(expected)}", None


def _keywords_among(expected: frozenset[str]) -> list[str]:
    words = [name.lower() for name in expected if name.lower() in KEYWORDS]
    if "$END" in expected:
        words.extend(STATEMENT_KEYWORDS)
    return sorted(set(words))


def _wanted(expected: frozenset[str]) -> str:
    if "$END" in expected and not expected - {"$END"} - {name.upper() for name in KEYWORDS}:
        expected = expected - {name.upper() for name in STATEMENT_KEYWORDS}
    spelled = sorted(
        {_SPELLED.get(name, f"`{name.lower()}`") for name in expected},
        key=lambda item: (item.startswith("`"), item),
    )
    if not spelled:
        return "the language has no such character"
    if len(spelled) > _EXPECTED_SHOWN:
        spelled = [*spelled[: _EXPECTED_SHOWN - 1], "…"]
    head, last = spelled[:-1], spelled[-1]
    return f"expected {', '.join(head)} or {last}" if head else f"expected {last}"


def _word_at(text: str, place: int) -> str:
    found = _WORD_AT.match(text, place)
    return found[0] if found and not found[0].isspace() else ""


def _without_comments(text: str) -> str:
    return re.sub(r'("[^"\n]*")|#[^\n]*', lambda found: found[1] or " " * len(found[0]), text)


def line_column(text: str, place: int) -> tuple[int, int]:
    """The line and column, both from 1, of an offset into `text`."""
    return text.count("\n", 0, place) + 1, place - (text.rfind("\n", 0, place) + 1) + 1
