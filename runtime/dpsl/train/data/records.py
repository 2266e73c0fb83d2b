"""Records of LLaVA's JSON format: read, checked, and matched with the attributes of a prior.

    [{"id": "7", "image": "a.png", "dataset": "digits", "task": "digit", "conversations": [
      {"from": "human", "value": "<image> Which digit?"}, {"from": "gpt", "value": "seven"}]}]

`image` may be a list, or absent. A record without a human turn is plain text, learnt whole. As in LLaVA's
own loader, an answer before the first question and a question after the last answer are left out.
Every problem of every file is found in one pass.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from dpsl.errors import DataError, DataProblem
from dpsl.train.data.images import image_problems
from dpsl.train.data.json_list import kind, read_list
from dpsl.train.data.progress import Tell, silent
from dpsl.train.data.token_classes import missing_member
from dpsl.train.data.turns import PLACEHOLDER, Role, Turn
from priorlang.table.prior_table import PriorTable
from priorlang.training import plan as training

_ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
_CONVERSATION = '[{"from": "human", "value": …}, {"from": "gpt", "value": …}]'
_EXPECTED = "expected one list of LLaVA records"
_OWN_FIELDS = frozenset({"id", "image", "conversations"})

Attributes = Mapping[str, str]
Alike = dict[tuple[tuple[str, str], ...], Attributes]
"""Attributes that many records share are kept once."""

TOGETHER = 1024
"""Records between two words on how far reading is."""


@dataclass(frozen=True)
class DataSource:
    """One entry of a training file's `data`.

    Attributes:
        path: the JSON file.
        images: the folder that image paths are relative to; None: the JSON file's own.
        attributes: defaults, such as dataset and task, for records that do not state their own.
        fraction: share of the records that is used, above 0 and up to 1.
    """

    path: Path
    images: Path | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    fraction: float = 1.0

    @classmethod
    def planned(cls, source: training.DataSource) -> Self:
        """A source as a plan names it."""
        return cls(source.path, source.images, dict(source.attributes), source.fraction)


@dataclass(frozen=True, slots=True)
class Record:
    """One training example.

    Attributes:
        place: file and record, for messages.
        images: the image files, in the order of their placeholders.
        turns: an optional system turn, then user and assistant in turn; or one assistant turn: plain text.
        attributes: everything else that the record or its source states, by name.
    """

    place: str
    images: tuple[Path, ...]
    turns: tuple[Turn, ...]
    attributes: Attributes


def load_records(
    sources: Sequence[DataSource],
    table: PriorTable | None = None,
    *,
    verify_images: bool = True,
    tell: Tell = silent,
) -> list[Record]:
    """Read every source, in order.

    Args:
        sources: the files.
        table: a prior whose attributes, except modality, every record must carry.
        verify_images: open each image file once, to find broken ones before training starts.
        tell: hears how far it is.

    Raises:
        DataError: with every problem found.
    """
    records: list[Record] = []
    problems: list[tuple[int, DataProblem]] = []
    for source in sources:
        _read(source, records, problems, tell)
    broken = image_problems((path for r in records for path in r.images), verify=verify_images, tell=tell)
    for number, record in enumerate(records):
        complaints = [complaint for path in record.images if (complaint := broken[path]) is not None]
        problems += [(number, DataProblem(record.place, *complaint)) for complaint in complaints]
    problems += [(number, problem) for number, problem in _attribute_problems(records, table)]
    if problems:
        raise DataError([problem for _, problem in sorted(problems, key=lambda found: found[0])])
    return records


def require_attributes(records: Iterable[Record], table: PriorTable | None) -> None:
    """Ask of records that were read before what `load_records` asks.

    Raises:
        DataError: some do not carry an attribute of the prior.
    """
    problems = [problem for _, problem in _attribute_problems(records, table)]
    if problems:
        raise DataError(problems)


def _read(
    source: DataSource, records: list[Record], problems: list[tuple[int, DataProblem]], tell: Tell
) -> None:
    """Add the records of a source; what is wrong comes with the number of the next record that is right."""
    try:
        raw_records = read_list(source.path, _EXPECTED)
    except DataError as error:
        problems += [(len(records), problem) for problem in error.problems]
        return
    alike: Alike = {}
    indices = kept_indices(len(raw_records), source.fraction)
    for done, index in enumerate(indices, 1):
        raw, raw_records[index] = raw_records[index], None
        place = _place(source.path, index, raw)
        try:
            record = _record(raw, place, source, alike)
        except _UnusableError as unusable:
            problems.append((len(records), DataProblem(place, unusable.problem, unusable.fix)))
            continue
        records.append(record)
        if done % TOGETHER == 0:
            tell("records read", done, len(indices))


def kept_indices(records: int, fraction: float) -> Sequence[int]:
    """Which records of a file a fraction keeps, in its order: the same ones whenever it is asked."""
    kept = kept_count(records, fraction)
    return range(records) if kept == records else sorted(random.Random(0).sample(range(records), kept))


def kept_count(records: int, fraction: float) -> int:
    """How many records of a file a fraction keeps: at least one."""
    return max(round(fraction * records), min(records, 1))


class _UnusableError(Exception):
    """Why a record cannot be read, and what to do about it."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem, fix)
        self.problem = problem
        self.fix = fix


def _place(path: Path, index: int, raw: object) -> str:
    name = raw.get("id") if isinstance(raw, dict) else None
    return f"{path} record {index}" + (f" (id {name})" if isinstance(name, str | int) else "")


def _record(raw: object, place: str, source: DataSource, alike: Alike) -> Record:
    if not isinstance(raw, dict):
        raise _UnusableError(f"it is {kind(raw)}", 'expected {"conversations": …, "image": …}')
    folder = source.images if source.images is not None else source.path.parent
    images = tuple(folder / name for name in _image_names(raw.get("image")))
    turns = _turns(raw.get("conversations"))
    shown = sum(turn.text.count(PLACEHOLDER) for turn in turns)
    if shown != len(images):
        raise _UnusableError(
            f"{len(images)} image(s) but {shown} {PLACEHOLDER} in the conversation",
            f"write one {PLACEHOLDER} per image",
        )
    own = {name: str(value) for name, value in raw.items() if _is_member(name, value)}
    attributes = {**source.attributes, **own}
    return Record(place, images, turns, alike.setdefault(tuple(attributes.items()), attributes))


def _is_member(name: str, value: object) -> bool:
    return name not in _OWN_FIELDS and isinstance(value, str | int) and not isinstance(value, bool)


def _image_names(image: object) -> list[str]:
    listed = image if isinstance(image, list) else [] if image is None else [image]
    names: list[str] = []
    for name in listed:
        if not isinstance(name, str) or not name:
            raise _UnusableError(f"`image` is {kind(name)}", "expected a file name or a list of them")
        names.append(name)
    return names


def _turns(conversations: object) -> tuple[Turn, ...]:
    if not isinstance(conversations, list) or not conversations:
        found = "absent" if conversations is None else "empty" if conversations == [] else kind(conversations)
        raise _UnusableError(f"`conversations` is {found}", f"expected {_CONVERSATION}")
    turns = [_turn(entry, number) for number, entry in enumerate(conversations)]
    system = turns[:1] if turns[0].role == "system" else []
    spoken = _question_to_answer(turns[len(system) :])
    if not any(turn.role == "assistant" for turn in spoken):
        raise _UnusableError("the conversation holds no answer", f"expected {_CONVERSATION}")
    if len(spoken) > 1 and any(
        t.role != ("user", "assistant")[number % 2] for number, t in enumerate(spoken)
    ):
        raise _UnusableError("speakers do not take turns", f"expected {_CONVERSATION}")
    if any(not turn.text.strip() for turn in spoken if turn.role == "assistant"):
        raise _UnusableError("a `gpt` turn is empty", "every answer needs text to learn")
    return (*system, *spoken)


def _question_to_answer(turns: list[Turn]) -> list[Turn]:
    """From the first question to the last answer; text without any question stays as it is."""
    asked = [place for place, turn in enumerate(turns) if turn.role == "user"]
    answered = [place for place, turn in enumerate(turns) if turn.role == "assistant"]
    return turns[asked[0] : answered[-1] + 1] if asked and answered else turns


def _turn(entry: object, number: int) -> Turn:
    if not isinstance(entry, dict) or not {"from", "value"} <= entry.keys():
        raise _UnusableError(f"turn {number} lacks `from` or `value`", f"expected {_CONVERSATION}")
    speaker, value = entry["from"], entry["value"]
    if not isinstance(speaker, str) or speaker not in _ROLES:
        raise _UnusableError(f"turn {number} is from {speaker!r}", "expected human, gpt or system")
    if not isinstance(value, str):
        raise _UnusableError(f"the `value` of turn {number} is {kind(value)}", "expected text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _UnusableError(
            f"turn {number} holds half a character ({value[error.start]!a})",
            "write whole characters: JSON has \\ud83d\\ude00 for 😀",
        ) from None
    return Turn(_ROLES[speaker], value)


def _attribute_problems(
    records: Iterable[Record], table: PriorTable | None
) -> Iterator[tuple[int, DataProblem]]:
    attributes = table.header.attributes if table is not None else ()
    for number, record in enumerate(records if attributes else ()):
        for attribute in attributes:
            complaint = missing_member(attribute, record.attributes)
            if complaint is not None:
                yield number, DataProblem(record.place, *complaint)
