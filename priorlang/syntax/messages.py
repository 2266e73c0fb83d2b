"""What the grammar has no place for → a finding in the words of the language."""

from __future__ import annotations

import re

from priorlang.diagnostics.finding import Edit, Finding, Fix, Severity
from priorlang.diagnostics.span import Span
from priorlang.records import replace
from priorlang.syntax.builder import Origin
from priorlang.syntax.keywords import KEYWORDS, STATEMENT_KEYWORDS
from priorlang.syntax.mistakes import Repair, Stop, diagnosis
from priorlang.syntax.parser import MisreadError, parse_text

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
_MENDED_AT_ONCE = 50
_HEADER = "priorlang 1\n"


def syntax_finding(error: MisreadError, text: str, symbol: str, origin: Origin) -> Finding:
    """The `syntax-error` of what stopped the parser in `text`, read from this start symbol.

    It has a fix only where the text, once mended, can be read.
    """
    stop = _stop(error, text)
    span = origin.span(*line_column(text, stop.place), *line_column(text, stop.place + len(stop.word)))
    if not stop.word:
        message = f"the statement is not finished: {_wanted(stop.expected)}"
        return Finding("syntax-error", Severity.ERROR, message, span)
    shown = stop.word if len(stop.word) <= 40 else stop.word[:37] + "…"
    message, repairs = diagnosis(stop) or (f"`{shown}` is not understood here: {_wanted(stop.expected)}", ())
    if symbol == "fragment" and text.lstrip().startswith("priorlang"):
        # The version is the author's to say, and may stand where it should not.
        repairs = ()
    for repair in repairs:
        mended = _mended(text, symbol, repair)
        if mended:
            fix = None
            if origin.fixed is None and not (symbol != "fragment" and _means_more_in_yaml(mended)):
                edits = tuple(Edit(_place(origin, text, item), item.text) for item in mended)
                fix = Fix(repair.label, edits, repair.automatic)
            return Finding("syntax-error", Severity.ERROR, repair.message, span, fix=fix)
    return Finding("syntax-error", Severity.ERROR, message, span)


def text_place(error: MisreadError, text: str) -> int:
    """Where in `text` reading stopped: an offset; the end of the last word where the text ran out."""
    return len(_without_comments(text).rstrip()) if error.offset is None else error.offset


def _stop(error: MisreadError, text: str) -> Stop:
    place = text_place(error, text)
    return Stop(text, place, _word_at(text, place), error.expected)


def _mended(text: str, symbol: str, repair: Repair) -> list[Repair]:
    """The repair, and those of the same mistake further on, by which the text can be read; else nothing."""
    done, ahead, header = [repair], 0, ""
    if symbol == "fragment":
        # A misspelt keyword may begin a second statement.
        symbol, header = "start", _HEADER
    while len(done) <= _MENDED_AT_ONCE:
        last = done[-1]
        text = text[: last.start + ahead] + last.text + text[last.end + ahead :]
        ahead += len(last.text) - (last.end - last.start)
        try:
            parse_text(header + text, symbol, Origin(""))
        except MisreadError as error:
            place = None if error.offset is None else error.offset - len(header)
            again = _again(MisreadError(place, error.expected), text, repair)
            if again is None or again.start - ahead < last.end:
                return []
            done.append(replace(again, start=again.start - ahead, end=again.end - ahead))
        else:
            return done
    return []


def _again(error: MisreadError, text: str, repair: Repair) -> Repair | None:
    """The repair of the next mistake, where it is the same mistake again."""
    stop = _stop(error, text)
    _, repairs = (diagnosis(stop) if stop.word else None) or ("", ())
    kind = repair.label.split(":")[0]
    return next((item for item in repairs if item.label.split(":")[0] == kind), None)


def _means_more_in_yaml(repairs: list[Repair]) -> bool:
    """Whether a text to be written is more than itself inside a scalar of YAML."""
    return any(set(repair.text) & set('",{}') for repair in repairs)


def _place(origin: Origin, text: str, repair: Repair) -> Span:
    return origin.span(*line_column(text, repair.start), *line_column(text, repair.end))


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
