"""How many of the tokens belong to each token class: given as fractions or counts, held to the vocabularies.

Three forms, in Python and in a file of JSON or YAML:

- `{modality: {vision: 0.85, language: 0.15}}`, fractions of each attribute, which add up to 1;
- `{modality: {vision: 850, language: 150}}`, whole numbers: counts;
- `[{modality: vision, task: ocr, count: 120}, …]`, counts of token classes; a class that is not listed has none.

In the first two, attributes count as independent of each other, and the members of an attribute that is left out
as equally frequent. `ClassShares.note` says so, and findings repeat it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from priorlang.checks import Evidence
from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.span import whole_file
from priorlang.diagnostics.suggest import closest, listing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from priorlang.semantics.spec import AttributeSpec, Spec
    from priorlang.table.matching import Matching

Number = int | float | str
GivenShares = Mapping[str, Mapping[str, Number]] | Sequence[Mapping[str, Number]]

_SHARE = re.compile(r'(?:"([^"]+)"|([^\s.,="]+))\.(?:"([^"]+)"|([^\s,="]+))=([^\s,]+)(?:\s*,\s*|\s*$)')

COUNT = "count"
"""The key of the number in counts of token classes."""

TOLERANCE = 1e-3
"""How far fractions may be from adding up to 1."""


@dataclass(frozen=True, eq=False)
class ClassShares:
    """Token shares.

    Attributes:
        fraction_C: the share of each token class; they add up to 1.
        note: what was assumed to get there, as the end of a sentence; empty where nothing was.
    """

    fraction_C: NDArray[np.float64]
    note: str = ""


@dataclass(frozen=True, eq=False)
class GroupShares:
    """The same for the groups of token classes that rules tell apart: [G] fractions, and the note."""

    fraction_G: NDArray[np.float64]
    note: str


def group_shares(shares: ClassShares, matching: Matching) -> GroupShares:
    """Shares of the groups of `matching`."""
    fraction_G = np.bincount(matching.group, weights=shares.fraction_C, minlength=matching.group_count)
    return GroupShares(np.asarray(fraction_G, dtype=np.float64), shares.note)


def class_shares(spec: Spec, given: GivenShares, place: str = "--shares") -> ClassShares:
    """Token shares of a prior's classes.

    Args:
        spec: the prior.
        given: in one of the forms above.
        place: what errors name: the option, or the file of counts.

    Raises:
        PriorError: they do not fit the prior, or are no shares.
    """
    reader = _Reader(spec, place)
    if isinstance(given, Mapping):
        return reader.of_attributes(given)
    if isinstance(given, Sequence) and not isinstance(given, str):
        return reader.of_classes(given)
    raise reader.refused("shares are a mapping {attribute: {member: number}}, or a list of counts")


def parse_shares(text: str, place: str = "--shares") -> dict[str, dict[str, str]]:
    """The shares of `modality.vision=0.85,modality.language=0.15`, as they are written.

    Names and members that hold a dot or a comma are quoted, as in `dataset."llava_v1.5_mix"=3`.

    Raises:
        PriorError: the text is written otherwise.
    """
    found: dict[str, dict[str, str]] = {}
    position = 0
    while position < len(text) or not found:
        match = _SHARE.match(text, position)
        if match is None:
            shown = text[position : position + 40]
            message = f"`{shown}` is not ATTRIBUTE.MEMBER=NUMBER, as in modality.vision=0.85; a file of counts ends in .json or .yaml"
            raise PriorError([Finding("invalid-shares", Severity.ERROR, message, whole_file(place))])
        name, member, number = (match[1] or match[2], match[3] or match[4], match[5])
        if member in found.setdefault(name, {}):
            message = f"the share of {name}.{member} is given twice"
            raise PriorError([Finding("invalid-shares", Severity.ERROR, message, whole_file(place))])
        found[name][member] = number
        position = match.end()
    return found


def evidence_of(
    spec: Spec, given: GivenShares | ClassShares | None, batch_tokens: float | None, place: str = "--shares"
) -> Evidence:
    """What is known beyond the file. Raises PriorError as `class_shares` does, or where a batch has no tokens."""
    if batch_tokens is not None and not (math.isfinite(batch_tokens) and batch_tokens > 0):
        message = f"a batch of {batch_tokens:g} tokens; the number is above 0"
        raise PriorError([Finding("invalid-shares", Severity.ERROR, message, whole_file("--batch-tokens"))])
    if given is None or isinstance(given, ClassShares):
        return Evidence(given, batch_tokens)
    return Evidence(class_shares(spec, given, place), batch_tokens)


def counted_shares(spec: Spec, count_C: NDArray[np.int64]) -> ClassShares | None:
    """Shares from counts of every token class; None where nothing was counted."""
    assert len(count_C) == spec.class_count
    total = count_C.sum()
    return ClassShares(count_C / total) if total else None


def certain_shares(spec: Spec) -> ClassShares | None:
    """The shares that are known without being told: of a prior with a single token class."""
    return ClassShares(np.ones(1)) if spec.class_count == 1 else None


class _Reader:
    def __init__(self, spec: Spec, place: str) -> None:
        self.spec = spec
        self.place = place

    def refused(self, message: str) -> PriorError:
        return PriorError([Finding("invalid-shares", Severity.ERROR, message, whole_file(self.place))])

    def of_attributes(self, given: Mapping[str, Mapping[str, Number]]) -> ClassShares:
        known = [attribute.name for attribute in self.spec.attributes]
        for name in given:
            if name not in known:
                raise self.refused(f"there is no attribute `{name}`{_hint(str(name), known)}")
        fraction_C = np.ones(1)
        even: list[str] = []
        for attribute in self.spec.attributes:
            if attribute.name in given:
                part = self._members(attribute, given[attribute.name])
            else:
                part = np.full(len(attribute.leaves), 1.0 / len(attribute.leaves))
                even.append(attribute.name)
            fraction_C = np.multiply.outer(fraction_C, part).ravel()
        words = []
        if even:
            words.append(f"the members of {' and '.join(even)} taken as equally frequent")
        if len(self.spec.attributes) - len(even) > 1:
            words.append("attributes taken as independent")
        return ClassShares(fraction_C, f" ({', '.join(words)})" if words else "")

    def of_classes(self, given: Sequence[Mapping[str, Number]]) -> ClassShares:
        known = [attribute.name for attribute in self.spec.attributes]
        count = np.zeros([len(attribute.leaves) for attribute in self.spec.attributes] or [1])
        for number, entry in enumerate(given):
            place = f"entry {number + 1}"
            if not isinstance(entry, Mapping):
                raise self.refused(
                    f"{place} is no mapping; write {{{', '.join(f'{n}: …' for n in known)}, count: …}}"
                )
            for name in entry:
                if name not in [*known, COUNT]:
                    raise self.refused(f"{place}: there is no attribute `{name}`{_hint(str(name), known)}")
            for name in [*known, COUNT]:
                if name not in entry:
                    raise self.refused(f"{place} states no `{name}`")
            codes = tuple(self._code(attribute, entry[attribute.name]) for attribute in self.spec.attributes)
            count[codes or (0,)] += self._number(f"{place}: count", entry[COUNT])
        total = count.sum()
        if not total > 0:
            raise self.refused("every count is 0")
        return ClassShares(count.ravel() / total)

    def _members(self, attribute: AttributeSpec, given: Mapping[str, Number]) -> NDArray[np.float64]:
        if not isinstance(given, Mapping):
            raise self.refused(f"the shares of {attribute.name} are a mapping of its members to numbers")
        name = attribute.name
        values = {
            self._code(attribute, member): self._number(f"{name}.{member}", value)
            for member, value in given.items()
        }
        left_out = [leaf for code, leaf in enumerate(attribute.leaves) if code not in values]
        if left_out:
            raise self.refused(
                f"the shares of {name} leave out {listing(left_out)}; write 0 for what there is none of"
            )
        part = np.array([values[code] for code in range(len(attribute.leaves))])
        total = float(part.sum())
        if not total > 0:
            raise self.refused(f"every share of {name} is 0")
        if any(_is_fraction(value) for value in given.values()) and abs(total - 1.0) > TOLERANCE:
            raise self.refused(
                f"the shares of {name} add up to {total:.6g}, not to 1; whole numbers are taken as counts"
            )
        return part / total

    def _code(self, attribute: AttributeSpec, member: object) -> int:
        word = str(member)
        if word in attribute.leaves:
            return attribute.leaves.index(word)
        if word in attribute.parents:
            leaves = listing(attribute.leaves[code] for code in attribute.parents[word])
            raise self.refused(
                f"{attribute.name}.{word} is a parent; give the shares of its leaves: {leaves}"
            )
        hint = _hint(word, attribute.leaves) or f"; it has {listing(attribute.leaves)}"
        raise self.refused(f"attribute {attribute.name} has no member `{word}`{hint}")

    def _number(self, what: str, value: object) -> float:
        try:
            number = float(value) if isinstance(value, _NUMBERS) and value is not True else math.nan
        except (ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise self.refused(f"{what} is {value!r}, which is no number")
        if number < 0:
            raise self.refused(f"{what} is {value}; a share is never negative")
        if number > _MOST:
            raise self.refused(f"{what} is {number:g}, more than {_MOST:g}, the most that is counted")
        return number


_NUMBERS = (int, float, str, np.number)
_MOST = 1e18
"""Sums of larger counts would overflow, or lose the small ones."""


def _is_fraction(value: Number) -> bool:
    return not float(value).is_integer()


def _hint(word: str, known: Iterable[str]) -> str:
    meant = closest(word, known)
    return f"; did you mean `{meant}`?" if meant else ""
