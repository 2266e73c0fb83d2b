"""Reading LLaVA's JSON: what is accepted, and the message for each mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dpsl.errors import DataError
from dpsl.train.data import records as records_module
from dpsl.train.data.records import DataSource, load_records
from dpsl.train.data.turns import Turn
from priorlang.table.prior_table import PriorTable, TableAttribute

Make = Callable[..., PriorTable]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (8, 8), (200, 10, 10)).save(tmp_path / "good.png")
    broken = bytearray((tmp_path / "good.png").read_bytes())
    broken[-20] ^= 0xFF
    (tmp_path / "broken.png").write_bytes(broken)
    (tmp_path / "text.png").write_text("no image at all")
    return tmp_path


def write(folder: Path, content: object) -> DataSource:
    path = folder / "data.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return DataSource(path)


def record(question: str = "Which?", answer: str = "seven", **fields: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": "r1", "conversations": turns, **fields}


def test_a_record_becomes_turns_images_and_attributes(folder: Path) -> None:
    source = write(folder, [record("<image>\nWhich?", image="good.png", task="digit")])
    (read,) = load_records([DataSource(source.path, None, {"dataset": "digits", "task": "other"})])
    assert read.turns == (Turn("user", "<image>\nWhich?"), Turn("assistant", "seven"))
    assert read.images == (folder / "good.png",)
    assert read.attributes == {"dataset": "digits", "task": "digit"}


def test_images_may_lie_elsewhere_and_be_several(folder: Path) -> None:
    (folder / "lists").mkdir()
    source = write(folder / "lists", [record("<image><image> Which?", image=["good.png", "good.png"])])
    (read,) = load_records([DataSource(source.path, folder)])
    assert read.images == (folder / "good.png",) * 2


def test_text_without_a_question_is_plain_text(folder: Path) -> None:
    (read,) = load_records([write(folder, [{"conversations": [{"from": "gpt", "value": "Once."}]}])])
    assert read.turns == (Turn("assistant", "Once."),)


def test_turns_before_the_first_question_and_after_the_last_answer_are_left_out(folder: Path) -> None:
    speakers = ["system", "gpt", "human", "gpt", "human"]
    turns = [{"from": speaker, "value": str(place)} for place, speaker in enumerate(speakers)]
    (read,) = load_records([write(folder, [{"conversations": turns}])])
    assert [turn.text for turn in read.turns] == ["0", "2", "3"]


BAD_RECORDS = [
    (["no mapping"], "it is text", "expected {"),
    ([{"id": "r1"}], "`conversations` is absent", "human"),
    ([{"conversations": []}], "`conversations` is empty", "human"),
    ([{"conversations": "hello"}], "`conversations` is text", "human"),
    ([{"conversations": [{"from": "human", "value": "Why?"}]}], "holds no answer", "gpt"),
    ([{"conversations": [{"value": "Why?"}]}], "turn 0 lacks `from`", "human"),
    (
        [{"conversations": [{"from": "robot", "value": "Why?"}]}],
        "turn 0 is from 'robot'",
        "human, gpt or system",
    ),
    ([{"conversations": [{"from": "human", "value": 7}]}], "`value` of turn 0 is 7", "expected text"),
    ([record(answer="  ")], "`gpt` turn is empty", "needs text"),
    ([record(answer="a \ud83d")], r"turn 1 holds half a character ('\ud83d')", "whole characters"),
    ([record("<image> Which?", image=7)], "`image` is 7", "file name"),
    ([record("<image> Which?")], "0 image(s) but 1 <image>", "one <image> per image"),
    ([record(image="good.png")], "1 image(s) but 0 <image>", "one <image> per image"),
    ([record("<image> Which?", image="gone.png")], "gone.png not found", "`images`"),
    ([record("<image> Which?", image="broken.png")], "broken.png is broken", "replace the file"),
    ([record("<image> Which?", image="text.png")], "text.png is broken", "replace the file"),
    (
        [{"conversations": [{"from": f, "value": "x"} for f in ("human", "human", "gpt")]}],
        "speakers do not take turns",
        "gpt",
    ),
]


@pytest.mark.parametrize(("content", "problem", "fix"), BAD_RECORDS, ids=[case[1] for case in BAD_RECORDS])
def test_a_bad_record_is_named_with_its_fix(folder: Path, content: object, problem: str, fix: str) -> None:
    source = write(folder, content)
    with pytest.raises(DataError) as raised:
        load_records([source])
    message = str(raised.value)
    assert message.startswith(f"{source.path} record 0")
    assert problem in message
    assert fix in message


@pytest.mark.parametrize(
    ("content", "problem"),
    [("[{]", "data.json:1:3: not JSON"), ("{}", "it holds a mapping"), ("[]", "the list is empty")],
)
def test_a_bad_file_is_named(folder: Path, content: str, problem: str) -> None:
    with pytest.raises(DataError, match=r"data\.json") as raised:
        load_records([write(folder, content)])
    assert problem in str(raised.value)


def test_a_missing_file_and_a_folder_are_named(folder: Path) -> None:
    with pytest.raises(DataError) as raised:
        load_records([DataSource(folder / "gone.json"), DataSource(folder)])
    assert "gone.json: no such file" in str(raised.value)
    assert "it is a folder" in str(raised.value)


def test_all_problems_of_all_files_come_at_once_and_equal_ones_in_one_line(folder: Path) -> None:
    source = write(folder, [record(answer=""), *[record("<image>") for _ in range(12)]])
    with pytest.raises(DataError) as raised:
        load_records([source, DataSource(folder / "gone.json")])
    assert len(raised.value.problems) == 14
    lines = str(raised.value).splitlines()
    assert lines[0] == "14 problems in the data:"
    assert len(lines) == 4
    assert "record 1 (id r1) and 11 more: " in lines[2]


def test_unverified_images_need_only_exist(folder: Path) -> None:
    source = write(folder, [record("<image> Which?", image="broken.png")])
    assert len(load_records([source], verify_images=False)) == 1


TASK = TableAttribute("task", ("caption", "ocr", "chart"), (("reading", ("ocr", "chart")),))
OPEN_TASK = TableAttribute("task", ("caption", "unknown"))


@pytest.mark.parametrize(
    ("fields", "problem", "fix"),
    [
        ({}, "it carries no `task`", "or add `unknown`"),
        ({"task": "vqa"}, "no member 'vqa'", "caption, ocr, chart"),
        ({"task": "reading"}, "'reading' is a group", "say which: ocr, chart"),
    ],
)
def test_a_record_must_carry_the_prior_s_attributes(
    folder: Path, make_table: Make, fields: dict[str, str], problem: str, fix: str
) -> None:
    with pytest.raises(DataError) as raised:
        load_records([write(folder, [record(**fields)])], make_table(TASK))
    assert problem in str(raised.value)
    assert fix in str(raised.value)


@pytest.mark.parametrize("fields", [{}, {"task": "vqa"}])
def test_unknown_takes_what_is_absent_or_unlisted(
    folder: Path, make_table: Make, fields: dict[str, str]
) -> None:
    assert load_records([write(folder, [record(**fields)])], make_table(OPEN_TASK))


def test_the_modality_is_not_asked_of_records(folder: Path, make_table: Make) -> None:
    table = make_table(TableAttribute("modality", ("vision", "language")))
    assert load_records([write(folder, [record()])], table)


def test_problems_come_in_the_order_of_the_records_and_each_image_is_opened_once(
    folder: Path, make_table: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    real = Image.open

    def count(path: Path) -> Any:
        opened.append(path.name)
        return real(path)

    monkeypatch.setattr(Image, "open", count)
    bad = [
        record("<image> Which?", image="broken.png"),
        record(answer=""),
        record("<image> Which?", image="good.png"),
        record("<image> Which?", image="broken.png", task="vqa"),
    ]
    with pytest.raises(DataError) as raised:
        load_records([write(folder, bad)], make_table(TASK))
    found = [(problem.place.split()[2], problem.problem.split()[0]) for problem in raised.value.problems]
    assert found == [
        ("0", "image"), ("0", "it"), ("1", "a"), ("2", "it"), ("3", "image"), ("3", "the"),
    ]  # fmt: skip
    assert sorted(opened) == ["broken.png", "good.png"]


def test_records_that_state_the_same_share_it_and_reading_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records_module, "TOGETHER", 2)
    told: list[tuple[str, int, int]] = []
    source = write(folder, [record("<image> Which?", image="good.png", task="digit") for _ in range(4)])
    read = load_records([source], tell=lambda *how: told.append(how))
    assert len({id(record.attributes) for record in read}) == 1
    assert told == [("records read", 2, 4), ("records read", 4, 4), ("images checked", 1, 1)]
