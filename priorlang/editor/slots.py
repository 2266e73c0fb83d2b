"""What a name stands for, by where it stands in a statement of the DSL.

The grammar says where a name may stand; this says a name of what. It reads words one by one and never
fails, so it also answers for the half of a statement that stands before the cursor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from priorlang.editor.words import Word

Kind = Literal[
    "attribute", "member", "experts", "layers", "rule", "parameter", "finding", "setting", "measure", "file"
]
DECLARED: tuple[Kind, ...] = ("attribute", "member", "experts", "layers", "rule", "parameter")
"""The kinds of names that a prior file declares."""


@dataclass(frozen=True, slots=True)
class Role:
    """What a name stands for. A member belongs to an attribute, its `owner`."""

    kind: Kind
    owner: str = ""
    declares: bool = False


_ITEMS = frozenset({"NUMBER", "REFERENCE", "ALL", "DOTS", "PERCENT", "STEP"})


@dataclass
class Slots:
    """Reads the words of one statement.

    `slot` is the role that a name would have next, None where no name stands; `resume` is the role
    that comes back after a `|` or a comma.
    """

    slot: Role | None = None
    _resume: Role | None = None
    _statement: str = ""
    _clause: str = ""
    _before: str = ""
    _setting: str = ""
    _names: list[str] = field(default_factory=list)

    def take(self, word: Word, after: str = "") -> Role | None:
        """Read one word; `after` is the kind of the next. Gives the role of a name, None of other words."""
        before, self._before = self._before, word.kind
        if not self._statement:
            self._statement = word.kind
            self._begin(word.kind)
            return None
        if word.kind == "REFERENCE":
            self._fill()
            return Role("parameter")
        if word.kind in {"NAME", "STRING", "PARAM_NAME"}:
            return self._name(word, after)
        if self._statement == "MODEL":
            return self._in_model(word, after)
        if self._statement == "EXPECT":
            self._in_expect(word)
        self._other(word, before)
        return None

    def _begin(self, kind: str) -> None:
        first: dict[str, Role] = {
            "IMPORT": Role("file"),
            "ATTRIBUTE": Role("attribute", declares=True),
            "EXPERTS": Role("experts", declares=True),
            "LAYERS": Role("layers", declares=True),
            "PARAM": Role("parameter", declares=True),
            "RULE": Role("rule", declares=True),
            "EXPECT": Role("measure"),
            "ALLOW": Role("finding"),
        }
        self.slot = first.get(kind)

    def _name(self, word: Word, after: str) -> Role | None:
        role = self.slot
        if self._statement == "MODEL" and (role is None or after == "EQUAL"):
            role = Role("setting")
        if role is None:
            return None
        self._fill()
        if role.kind == "attribute":
            self._names.append(word.name)
            if role.declares and after == "ADDS":
                return replace(role, declares=False)
            if not role.declares and self._clause != "SPLIT":
                self.slot = Role("member", word.name)
        elif role.kind == "setting":
            self._setting = word.name
        return role

    def _fill(self) -> None:
        """A name or a number has taken its place; the next one needs a sign between."""
        self._resume, self.slot = self.slot or self._resume, None
        if self._statement == "MODEL":
            self.slot = Role("setting")

    def _in_model(self, word: Word, after: str) -> Role | None:
        if word.kind in {"LAYERS", "EXPERTS"}:
            self._setting, self.slot = word.text, None
            return Role("setting")
        if word.kind == "LBRACE":
            self.slot = Role("setting")
        elif word.kind == "EQUAL":
            self.slot = Role("layers") if self._setting == "routed" else None
            self._resume = self.slot
        elif word.kind in _ITEMS:
            self.slot = Role("setting")
        elif word.kind == "VBAR":
            self.slot = self._resume
        return None

    def _in_expect(self, word: Word) -> None:
        if word.kind == "LPAR":
            self.slot = Role("experts")
        elif word.kind == "RPAR":
            self.slot = None
        elif word.kind in {"COMPARE", "EQUAL"}:
            self.slot = Role("measure")
        elif word.kind in {"WEIGHT", "UNSHAPED", "SHARE"}:
            self.slot = None

    def _other(self, word: Word, before: str) -> None:
        """Keywords and signs, in any statement but `model`."""
        match word.kind:
            case "FOR" | "AND":
                self._clause, self.slot = word.kind, Role("attribute")
            case "LAYERS" if before in {"IN", "OVER"}:
                self.slot = Role("layers")
            case "IN":
                self.slot = Role("rule") if self._statement == "ALLOW" else None
            case "OVERRIDES":
                self._clause, self.slot = word.kind, Role("rule")
            case "PREFER" | "AVOID":
                self._clause, self.slot = word.kind, Role("experts")
            case "TO":
                self.slot = Role("experts") if self._clause == "SHARE" else None
            case "SPLIT" | "SHARE" | "RAMP" | "BASE" | "WEIGHT" | "UNSHAPED" | "BECAUSE":
                self._clause = word.kind
                self.slot = self._resume = None
            case "BY":
                self.slot = Role("attribute") if self._clause == "SPLIT" else None
                self._resume = None
            case "EQUAL" if self._statement in {"EXPERTS", "LAYERS"}:
                self.slot = Role("experts" if self._statement == "EXPERTS" else "layers")
            case "LBRACE" if self._statement == "ATTRIBUTE":
                self.slot = Role("member", self._names[0] if self._names else "", declares=True)
            case "COMMA" | "VBAR":
                self.slot = self._resume
            case "COLON" | "RBRACE" | "OVER":
                self.slot = None
            case kind if kind in _ITEMS:
                self._fill()


def roles_of(words: Iterable[Word]) -> Iterator[tuple[Word, Role]]:
    """The words of one statement that are names, with what each stands for."""
    slots = Slots()
    listed = list(words)
    for index, word in enumerate(listed):
        after = listed[index + 1].kind if index + 1 < len(listed) else ""
        role = slots.take(word, after)
        if role is not None:
            yield word, role
