"""What the grammar has no place for → a finding in the words of the language."""

from __future__ import annotations

import re
from collections.abc import Iterable

from priorlang.diagnostics.finding import Edit, Finding, Fix, Severity
from priorlang.diagnostics.span import Span
from priorlang.records import Record, replace
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
_KINDS_AT_ONCE = 3
"""Different mistakes of one statement that are told together."""
_LONG = 2_000
"""Characters of a statement in which more than one kind of mistake is looked for."""
_HEADER = "priorlang 1\n"


class _Mistake(Record):
    """A mistake that can be mended: the word from `start` to `end`, and its repairs, which are all of one kind."""

    start: int
    end: int
    repairs: tuple[Repair, ...]

    @property
    def begin(self) -> int:
        """Where the word or the first of the repairs begins."""
        return min(self.start, *(item.start for item in self.repairs))

    def moved(self, by: int) -> _Mistake:
        """The same mistake, seen from a text in which it stands further on."""
        repairs = tuple(replace(item, start=item.start + by, end=item.end + by) for item in self.repairs)
        return _Mistake(self.start + by, self.end + by, repairs)


def syntax_findings(error: MisreadError, text: str, symbol: str, origin: Origin) -> list[Finding]:
    """The `syntax-error` of what stopped the parser in `text`, read from this start symbol.

    It has a fix only where the text, once mended, can be read. Where that takes mending other mistakes further on as
    well, these are told too.
    """
    stop = _stop(error, text)
    if not stop.word:
        message = f"the statement is not finished: {_wanted(stop.expected)}"
        return [_finding(message, _span(origin, text, stop.place, stop.place))]
    # The version is the author's to say, and may stand where it should not.
    fixable = not (symbol == "fragment" and text.lstrip().startswith("priorlang"))
    mistakes = _mistakes(stop, symbol, _KINDS_AT_ONCE if len(text) <= _LONG else 1) if fixable else []
    if not mistakes:
        shown = stop.word if len(stop.word) <= 40 else stop.word[:37] + "…"
        known = diagnosis(stop)
        message = known[0] if known else f"`{shown}` is not understood here: {_wanted(stop.expected)}"
        return [_finding(message, _span(origin, text, stop.place, stop.place + len(stop.word)))]
    found = []
    for mistake in mistakes:
        first, fix = mistake.repairs[0], None
        if origin.fixed is None and not (symbol != "fragment" and _means_more_in_yaml(mistake.repairs)):
            edits = tuple(Edit(_span(origin, text, i.start, i.end), i.text) for i in mistake.repairs)
            fix = Fix(first.label, edits, first.automatic)
        found.append(_finding(first.message, _span(origin, text, mistake.start, mistake.end), fix))
    return found


def text_place(error: MisreadError, text: str) -> int:
    """Where in `text` reading stopped: an offset; the end of the last word where the text ran out."""
    return len(_without_comments(text).rstrip()) if error.offset is None else error.offset


def _stop(error: MisreadError, text: str) -> Stop:
    place = text_place(error, text)
    return Stop(text, place, _word_at(text, place), error.expected)


def _mistakes(stop: Stop, symbol: str, kinds: int) -> list[_Mistake]:
    """The mistake, and up to `kinds` - 1 others further on, by whose repairs the text can be read; else nothing."""
    _, repairs = diagnosis(stop) or ("", ())
    for repair in repairs:
        found = _mended(stop, symbol, repair, kinds)
        if found:
            return found
    return []


def _mended(stop: Stop, symbol: str, repair: Repair, kinds: int) -> list[_Mistake]:
    """The repair, those of the same mistake further on, and other mistakes behind them."""
    done, ahead, text = [repair], 0, stop.text
    # A misspelt keyword may begin a second statement.
    header, start = (_HEADER, "start") if symbol == "fragment" else ("", symbol)
    while len(done) <= _MENDED_AT_ONCE:
        last = done[-1]
        text = text[: last.start + ahead] + last.text + text[last.end + ahead :]
        ahead += len(last.text) - (last.end - last.start)
        mistake = _Mistake(stop.place, stop.place + len(stop.word), tuple(done))
        try:
            parse_text(header + text, start, Origin(""))
        except MisreadError as error:
            place = None if error.offset is None else error.offset - len(header)
            next_stop = _stop(MisreadError(place, error.expected), text)
            if not next_stop.word:
                return []
            again = _again(next_stop, repair)
            if again is not None and again.start - ahead >= last.end:
                done.append(replace(again, start=again.start - ahead, end=again.end - ahead))
                continue
            others = _mistakes(next_stop, symbol, kinds - 1) if kinds > 1 else []
            told = [mistake, *(other.moved(-ahead) for other in others)]
            # A mistake that a repair has made, or that reaches back into one, is none of the author's.
            apart = all(item.begin >= last.end for item in told[1:])
            return told if others and apart else []
        return [mistake]
    return []


def _again(stop: Stop, repair: Repair) -> Repair | None:
    """The repair of the next mistake, where it is the same mistake again."""
    _, repairs = diagnosis(stop) or ("", ())
    kind = repair.label.split(":")[0]
    return next((item for item in repairs if item.label.split(":")[0] == kind), None)


def _means_more_in_yaml(repairs: Iterable[Repair]) -> bool:
    """Whether a text to be written is more than itself inside a scalar of YAML."""
    return any(set(repair.text) & set('",{}') for repair in repairs)


def _finding(message: str, span: Span, fix: Fix | None = None) -> Finding:
    return Finding("syntax-error", Severity.ERROR, message, span, fix=fix)


def _span(origin: Origin, text: str, start: int, end: int) -> Span:
    return origin.span(*line_column(text, start), *line_column(text, end))


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
