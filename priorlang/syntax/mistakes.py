"""What people write where the language has no place for it: the mistake in words, and what may mend it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from priorlang.diagnostics.suggest import nearest
from priorlang.records import Record
from priorlang.syntax.keywords import KEYWORDS, STATEMENT_KEYWORDS

_NAME = r'(?:"[^"\n]*"|[A-Za-z_][\w-]*(?:[./][\w-]+)*)'
_SELECTED = re.compile(rf"(?<![\w./-])(for|and)\s+({_NAME})\s*\Z")
_SELECTING = re.compile(r"(?<![\w./-])(for|and)\s*\Z")
_EFFECTS = frozenset({"base", "prefer", "avoid", "weight", "unshaped", "split"})


class Repair(Record):
    """A change of the text that may mend a mistake: `text` in place of what stands from `start` to `end`.

    Where it does mend it, `message` names the mistake.
    """

    label: str
    start: int
    end: int
    text: str
    message: str
    automatic: bool = True


class Stop(Record):
    """Where reading stopped: the text, the word that has no place, and the terminals that have one."""

    text: str
    place: int
    word: str
    expected: frozenset[str]

    @property
    def before(self) -> str:
        return self.text[: self.place]

    @property
    def wants_name(self) -> bool:
        return bool(self.expected & {"NAME", "PARAM_NAME"})

    def instead(self, text: str, message: str, label: str = "", automatic: bool = True) -> Repair:
        """Write `text` in place of the word."""
        end = self.place + len(self.word)
        return Repair(label or f"write `{text.strip()}`", self.place, end, text, message, automatic)

    def without(self, message: str) -> Repair:
        """Leave the word out."""
        end = self.place + len(self.word)
        apart = self.before.endswith(" ") and self.text.startswith(" ", end)
        return Repair(f"leave out `{self.word}`", self.place, end + apart, "", message)


Diagnosis = tuple[str, tuple[Repair, ...]]
"""What is wrong, and what may mend it, best first."""


def diagnosis(stop: Stop) -> Diagnosis | None:
    """The mistake, if it is one that is known. The first case that fits speaks."""
    cases = (_in_selector, _joined, _without_by, _in_number, _bracketed, _quoted, _sign, _misspelt)
    return next((found for case in cases if (found := case(stop)) is not None), None)


def _in_selector(stop: Stop) -> Diagnosis | None:
    word, before = stop.word, stop.before
    if word in {"for", "in"} and "$END" in stop.expected and stop.text.lstrip().startswith("rule"):
        return f"`{word} …` stands before what the rule does: `rule name: for … in layers … prefer …`", ()
    if word == "not" and before.rstrip().endswith("|"):
        return "`not` leads the whole set: `not 0 | 1` is all but 0 and 1", ()
    if word == "not" and _SELECTING.search(before):
        return "`not` stands after the attribute: `for task not ocr`", ()
    selected = _SELECTED.search(before)
    if selected is None:
        return None
    joint, name = selected.groups()
    if word in {"in", "=", "==", ":"} and not re.match(r"\s*layers\b", stop.text[stop.place + len(word) :]):
        message = f"the members stand right after the attribute, without `{word}`: `for modality vision`"
        return message, (stop.without(message),)
    if word in _EFFECTS | {"and", "in", "|", ",", "or"}:
        message = (
            f"`{joint}` takes an attribute and its members, as `for modality vision`; only {name} stands"
        )
        return message + (" here; members are joined by `|`" if joint == "and" else " here"), ()
    return None


def _joined(stop: Stop) -> Diagnosis | None:
    word = stop.word
    if word == ";":
        message = "a statement ends where the next begins: leave out `;`"
        return message, (stop.without(message),)
    if word == "," and re.match(r"\s*model\b", stop.text):
        message = "the settings of `model` stand without commas"
        return message, (stop.without(message),)
    if word == "|" and "COMMA" in stop.expected:
        message = "the members of an attribute are joined by `,`"
        return message, (stop.instead(",", message),)
    if word == "or" or (word in {",", "and"} and "VBAR" in stop.expected):
        message = f"the members of a set are joined by `|`, not by `{word}`"
        joined = stop.instead(" |" if word == "," else "|", message)
        if word == "," and "AND" in stop.expected:
            terms = "attributes are joined by `and`, and the members of a set by `|`, not by `,`"
            return terms, (joined, stop.instead(" and", terms))
        return message, (joined,)
    return None


def _without_by(stop: Stop) -> Diagnosis | None:
    if "BY" not in stop.expected or not re.fullmatch(r"\d[\w.]*|\$[\w-]+|ramp", stop.word):
        return None
    message = f"expected `by` before `{stop.word}`"
    # A whole number may be meant as another item of the set.
    plain = "." in stop.word or stop.word == "ramp"
    return message, (Repair("write `by`", stop.place, stop.place, "by ", message, automatic=plain),)


def _in_number(stop: Stop) -> Diagnosis | None:
    word, before = stop.word, stop.before
    rest = stop.text[stop.place :]
    endless = re.match(r"[+-]?\.?(nan|inf|infinity)(?![\w./-])", rest, re.IGNORECASE)
    if endless and ("NUMBER" in stop.expected or not stop.expected):
        return f"numbers are finite: there is no `{endless[0]}`", ()
    span = re.match(r"-\s*(\d+)(?![\w.])", rest)
    first = re.search(r"(?<![\w.])\d+\s*\Z", before)
    if span and first:
        message = f"a range is written with two dots: `{first[0].strip()}..{span[1]}`"
        start, end = first.start() + len(first[0].rstrip()), stop.place + span.end()
        return message, (Repair("write `..`", start, end, f"..{span[1]}", message),)
    if word.startswith("-"):
        return "numbers are never negative; to lower a concentration, write `avoid … by`", ()
    digits = re.match(r"\.\d+(?![\w.])", rest)
    if digits and not before.endswith("."):
        message = f"a number begins with a digit: `0{digits[0]}`"
        end = stop.place + digits.end()
        return message, (Repair(f"write `0{digits[0]}`", stop.place, end, f"0{digits[0]}", message),)
    if word == "." and (before.endswith("..") or re.match(r"\.\.", rest)):
        message = "a range is written with two dots: `0..3`"
        return message, (stop.without(message),)
    if word == "+" and re.match(r"\+\s*[\d.$]", rest):
        message = "numbers are written without a sign: leave out `+`"
        return message, (stop.without(message),)
    if re.fullmatch(r"\d{1,20}(\.\d{1,20})?%", word) and "NUMBER" in stop.expected:
        part = f"{Decimal(word[:-1]) / 100:f}"
        message = f"a percentage is a place in a schedule; as a number, `{word}` is `{part}`"
        return message, (stop.instead(part, message),)
    named = re.fullmatch(r"[A-Za-z_][\w-]*", word) and word not in KEYWORDS
    if named and "REFERENCE" in stop.expected and "NAME" not in stop.expected:
        near = _misspelt(stop)
        message = f"`{word}` is no number; a parameter is written with `$`: `${word}`"
        wanted = stop.instead(f"${word}", message, automatic=False)
        return message, (*(near[1] if near else ()), wanted)
    return None


def _bracketed(stop: Stop) -> Diagnosis | None:
    if stop.word not in {"[", "]"}:
        return None
    message = (
        "there are no brackets: a set is `0 | 1`, a vector `(3, 1)`, an attribute `{ vision, language }`"
    )
    found = re.compile(r"\[([^\[\]{}()\n#]*)\]").match(stop.text, stop.place)
    items = [item.strip() for item in found[1].split(",")] if found else []
    if found is None or not all(items):
        return message, ()
    end = found.end()
    forms = (
        (" | ".join(items), "a set is written without brackets"),
        (f"({', '.join(items)})", "a vector is written in round brackets"),
        (f"{{ {', '.join(items)} }}", "the members of an attribute are written in braces"),
    )
    return message, tuple(
        Repair(f"write `{text}`", stop.place, end, text, f"{reason}: `{text}`") for text, reason in forms
    )


def _quoted(stop: Stop) -> Diagnosis | None:
    word, quotable = stop.word, "STRING" in stop.expected
    if word in KEYWORDS and stop.wants_name and quotable:
        message = f"`{word}` is a keyword of the language, so as a name it must be quoted"
        quoting = stop.instead(f'"{word}"', message, f'quote it: "{word}"')
        return f"`{word}` is a keyword of the language, and does not stand here", (quoting,)
    if stop.wants_name and re.match(r"\d+[A-Za-z_]", word):
        message = f'a name that begins with a digit must be quoted: "{word}"'
        return message, (stop.instead(f'"{word}"', message, "quote it"),)
    if word.startswith('"') and (len(word) == 1 or not word.endswith('"')):
        return "the quoted text does not end on its line", ()
    if word.startswith('"') and stop.wants_name:
        return "this name takes letters, digits, `_` and `-`, without quotes", ()
    glued = re.search(r"\d[\w.]*\Z", stop.before)
    if glued and re.match(r"[A-Za-z_]", word) and not quotable:
        name = f"{glued[0]}{word}"
        message = f'a name that begins with a digit must be quoted: "{name}"'
        end = stop.place + len(word)
        return message, (Repair("quote it", glued.start(), end, f'"{name}"', message),)
    return None


def _sign(stop: Stop) -> Diagnosis | None:
    if stop.word == "=" and stop.before.endswith("="):
        message = "`==` is written `=`"
        return message, (stop.instead("", message, "write `=`"),)
    if stop.word in {"==", "!="}:
        return f"`{stop.word}` is no comparison; there are <, <=, =, >= and >", ()
    return None


def _misspelt(stop: Stop) -> Diagnosis | None:
    if not stop.word[0].isalpha():
        return None
    repairs = tuple(
        stop.instead(meant, f"`{stop.word}` is not understood here; did you mean `{meant}`?")
        for meant in nearest(stop.word, sorted(set(_keywords_among(stop.expected))))
    )
    return (repairs[0].message, repairs) if repairs else None


def _keywords_among(expected: frozenset[str]) -> Iterator[str]:
    yield from (name.lower() for name in expected if name.lower() in KEYWORDS)
    if "$END" in expected:
        yield from STATEMENT_KEYWORDS
