"""What a place in a YAML prior asks for: keys, names, or a phrase of the DSL.

A word is put where the cursor is, in one of the ways that make the file YAML again, and looked for in
what is read: the keys above it say what stands there. Phrases are handed to the DSL's own completion
with the beginning of the statement they would have there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from priorlang.diagnostics.span import Position
from priorlang.editor.glossary import SETTING_MEANINGS
from priorlang.editor.slots import Role
from priorlang.editor.yaml_text import mended, node_of
from priorlang.syntax.keywords import STATEMENT_KEYWORDS
from priorlang.syntax.phrases import quoted
from priorlang.syntax.source import SourceFile
from priorlang.syntax.yaml_nodes import YamlList, YamlNode, YamlScalar

MARK = "zzcursorzz"
EFFECTS = ("base", "prefer", "avoid", "weight", "split", "unshaped")
TOP = ("priorlang", *STATEMENT_KEYWORDS)
_COMMENTED = re.compile(r"""^(?:[^"'#]|"[^"]*"|'[^']*'|(?<=\S)#)*(?:(?<=\s)|^)#""")
_TYPED = re.compile(r"(?<![\w$])\$?[\w-]*(?:[./][\w-]*)*$")


@dataclass(frozen=True, slots=True)
class Words:
    """Fixed words, or names of a role by themselves, as YAML writes them; `sign` follows each."""

    keys: tuple[str, ...] = ()
    role: Role | None = None
    sign: str = ": "
    meanings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase of the DSL: what stands of it before the cursor, and the statement it would stand in."""

    statement: str
    symbol: str
    text: str = ""
    quoted: bool = False


Asked = Words | Phrase | None


@dataclass(frozen=True, slots=True)
class _Found:
    path: tuple[str, ...]
    is_key: bool
    scalar: YamlScalar
    beside: tuple[str, ...]


def place_in_yaml(source: SourceFile, place: Position) -> Asked:
    """What the cursor's place asks for, None where nothing can be told."""
    found = _find(source, place)
    if found is None:
        return None
    text = found.scalar.text.partition(MARK)[0]
    asked = _asked(found)
    if isinstance(asked, Phrase):
        return Phrase(asked.statement, asked.symbol, text, found.scalar.quoted)
    if isinstance(asked, Words):
        rest = tuple(key for key in asked.keys if key not in found.beside)
        return Words(rest, asked.role, asked.sign, asked.meanings)
    return asked


def _find(source: SourceFile, place: Position) -> _Found | None:
    lines = source.text.split("\n")
    if not 1 <= place.line <= len(lines):
        return None
    line = lines[place.line - 1]
    before, after = line[: place.column - 1], line[place.column - 1 :]
    if _COMMENTED.match(before):
        return None
    before = before[: len(before) - len(_typed(before))]
    after = re.sub(r"^[\w./-]*", "", after)
    around = mended(SourceFile(source.name, _with_line(lines, place.line, ""))).split("\n")
    for candidate in _candidates(before, after):
        for text in (_with_line(lines, place.line, candidate), _with_line(around, place.line, candidate)):
            root = node_of(text)
            found = _search(root, ()) if root is not None else None
            if found is not None:
                return found
    return None


def _candidates(before: str, after: str) -> Iterator[str]:
    """The cursor's line made whole, in the ways that half a line can be."""
    quote = _open_quote(before)
    closers = _closers(before)
    gap = " " if before.endswith((":", "-", ",")) and not quote else ""
    yield f"{before}{gap}{MARK}{after}"
    yield f"{before}{gap}{MARK}:{after}" if not quote else f"{before}{MARK}{quote}{after}"
    yield f"{before}{gap}{MARK}{quote}{closers}"
    yield f"{before}{gap}{MARK}{quote}:{closers}"


def _typed(before: str) -> str:
    found = _TYPED.search(before)
    return found[0] if found else ""


def _open_quote(before: str) -> str:
    opened = ""
    for character in before:
        if opened:
            opened = "" if character == opened else opened
        elif character in "\"'":
            opened = character
    return opened


def _closers(before: str) -> str:
    """The brackets that are open on a line, closed."""
    opened: list[str] = []
    for character in re.sub(r"\"[^\"]*\"?|'[^']*'?", "", before):
        if character in "{[":
            opened.append("}" if character == "{" else "]")
        elif character in "}]" and opened:
            opened.pop()
    return "".join(reversed(opened))


def _with_line(lines: list[str], number: int, line: str) -> str:
    return "\n".join([*lines[: number - 1], line, *lines[number:]])


def _search(node: YamlNode, path: tuple[str, ...], beside: tuple[str, ...] = ()) -> _Found | None:
    if isinstance(node, YamlScalar):
        return _Found(path, False, node, beside) if MARK in node.text else None
    if isinstance(node, YamlList):
        found = (_search(item, (*path, "[]")) for item in node.items)
        return next((item for item in found if item is not None), None)
    keys = tuple(key.text for key, _ in node.items)
    for key, value in node.items:
        if MARK in key.text:
            return _Found(path, True, key, tuple(name for name in keys if name != key.text))
        inner = _search(value, (*path, key.text))
        if inner is not None:
            return inner
    return None


def _asked(found: _Found) -> Asked:
    """What stands at a path. A scalar where a mapping belongs is a key that lacks its colon."""
    path, is_key = found.path, found.is_key
    if not path:
        return Words(TOP)
    return _in_statement(path[0], path[1:], is_key=is_key)


def _in_statement(keyword: str, path: tuple[str, ...], *, is_key: bool) -> Asked:
    match keyword, path:
        case "model", ():
            return Words(tuple(SETTING_MEANINGS), meanings=SETTING_MEANINGS)
        case "model", ("routed",):
            return Phrase("model { routed =", "set")
        case "model", (key,):
            return Phrase(f"model {{ {key} =", "number")
        case "import", _:
            return Words(role=Role("file"), sign="")
        case "attribute", (_,):
            return Words(("adds",))
        case (("experts" | "layers"), (_,)):
            return Phrase(f"{keyword} x =", "set")
        case "param", (_, *rest):
            return Phrase("param x =", "number" if rest else "value")
        case "default", ():
            return Words(tuple(effect for effect in EFFECTS if effect not in {"prefer", "avoid"}))
        case "default", (effect, *rest):
            return _in_effect(effect, tuple(rest), is_key=is_key)
        case "rule", (_,):
            return Words(("overrides", "for", "layers", *EFFECTS))
        case "rule", (_, clause, *rest):
            return _in_clause(clause, tuple(rest), is_key=is_key)
        case "schedule", (_,):
            return Phrase("schedule { 0:", "number")
        case "expect", _:
            return Phrase("expect", "expectation")
        case "allow", ("[]",):
            return Words(("finding", "in", "because"))
        case "allow", ("[]", "finding"):
            return Words(role=Role("finding"), sign="")
        case "allow", ("[]", "in", *_):
            return Words(role=Role("rule"), sign="")
    return None


def _in_clause(clause: str, path: tuple[str, ...], *, is_key: bool) -> Asked:
    match clause, path:
        case "overrides", _:
            return Words(("all",), Role("rule"), sign="")
        case "for", ():
            return Words(role=Role("attribute"))
        case "for", (attribute,):
            return Phrase(f"rule x: for {quoted(attribute)}", "set")
        case "layers", ():
            return Phrase("rule x: in layers", "set")
    return _in_effect(clause, path, is_key=is_key)


def _in_effect(effect: str, path: tuple[str, ...], *, is_key: bool) -> Asked:
    match effect, path:
        case "base", ():
            return Words(("value", "share")) if is_key else Phrase("rule x: base", "value")
        case "base", ("value", *rest):
            return Phrase("rule x: base", "number" if rest else "value")
        case "base", ("share",) | ("share", "[]"):
            return Phrase("rule x: base 1 share 1 to", "set")
        case "base", ("share", *_):
            return Phrase("rule x: base 1 share", "number")
        case (("prefer" | "avoid"), () | ("[]",)):
            return Phrase(f"rule x: {effect}", "set")
        case (("prefer" | "avoid"), _):
            return Phrase(f"rule x: {effect} all by", "value")
        case "weight", _:
            return Phrase("rule x: weight", "value")
        case "split", _:
            return Words(role=Role("attribute"), sign="")
        case "unshaped", ():
            return Words(("true",), sign="")
    return None
