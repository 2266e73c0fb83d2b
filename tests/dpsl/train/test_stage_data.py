"""Each source is read once for all stages, and large ones once for all processes and starts of a run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dpsl.errors import DataError
from dpsl.train import stage_data
from dpsl.train.data import dataset
from dpsl.train.stage_data import DataRoom, StageData
from priorlang.table.prior_table import PriorTable, TableAttribute
from priorlang.training import load_plan
from priorlang.training.plan import StagePlan
from tests.dpsl.train.training_files import write_training_file

STAGES = """\
stages:
  - {{name: first, max_steps: 1, max_length: 64}}
  - {{name: second, max_steps: 1}}
"""


@pytest.fixture
def stages(tmp_path: Path, digits_data: Path) -> tuple[StagePlan, ...]:
    """Two stages on a copy of the data, cut differently."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "images").symlink_to(digits_data / "images")
    (tmp_path / "data" / "model").symlink_to(digits_data / "model")
    for name in ("instruct.json", "text.json", "heldout.json"):
        records = json.loads((digits_data / name).read_text())
        (tmp_path / "data" / name).write_text(json.dumps(records[:20]))
    return load_plan(write_training_file(tmp_path, tmp_path / "data", STAGES)).stages


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many records each call of the tokenizer was for; everything is worth keeping."""
    calls: list[int] = []
    real = dataset.tokenise

    def count(conversations: Any, *arguments: Any, **named: Any) -> Any:
        calls.append(len(conversations))
        return real(conversations, *arguments, **named)

    monkeypatch.setattr(dataset, "tokenise", count)
    monkeypatch.setattr(stage_data, "WORTH_KEEPING", 1)
    return calls


def same(found: StageData, expected: StageData) -> bool:
    pairs = [(found.train[index], expected.train[index]) for index in range(len(expected.train))]
    return len(found.train) == len(expected.train) and all(
        torch.equal(ours.input_ids, theirs.input_ids)
        and torch.equal(ours.labels, theirs.labels)
        and (ours.pixel_values is None or torch.equal(ours.pixel_values, theirs.pixel_values))
        and ours.codes == theirs.codes
        for ours, theirs in pairs
    )


def test_stages_that_cut_differently_share_what_was_read(
    stages: tuple[StagePlan, ...], counted: list[int], digits_processor: Any
) -> None:
    room = DataRoom(digits_processor)
    first, second = (room.load(stage, None) for stage in stages)
    assert counted == [40, 20], "training and held-out data, each once"
    assert first.train.tokens is second.train.tokens
    assert first.train.lengths.max() <= 64


def test_what_is_kept_is_not_tokenised_again_and_is_the_same(
    stages: tuple[StagePlan, ...],
    counted: list[int],
    digits_processor: Any,
    digits_table: PriorTable,
    tmp_path: Path,
) -> None:
    room = DataRoom(digits_processor)
    plain = DataRoom(digits_processor).load(stages[0], digits_table)
    before = room.load(stages[0], digits_table)
    counted.clear()
    room.keep_in(tmp_path / "tokens")
    assert not before.train.tokens.ids.flags.writeable, "memory holds what the folder holds"
    assert not before.train.records[0].turns
    later = DataRoom(digits_processor, kept=tmp_path / "tokens")
    assert same(before, plain)
    assert same(later.load(stages[0], digits_table), plain)
    assert len(later.load(stages[1], None).train) == 40
    assert counted == []


def test_a_changed_file_is_read_anew_and_kept(
    stages: tuple[StagePlan, ...], counted: list[int], digits_processor: Any, tmp_path: Path
) -> None:
    DataRoom(digits_processor, kept=tmp_path / "tokens").load(stages[0], None)
    file = stages[0].data[1].path
    records = json.loads(file.read_text())
    records[3]["conversations"][-1]["value"] = "something else"
    file.write_text(json.dumps(records))
    counted.clear()
    for _ in range(2):
        train = DataRoom(digits_processor, kept=tmp_path / "tokens").load(stages[0], None).train
        assert "something else" in digits_processor.tokenizer.decode(train[23].input_ids)
    assert counted == [40], "the training data, once; the held-out data is as it was"


def test_damaged_data_is_read_anew(
    stages: tuple[StagePlan, ...], counted: list[int], digits_processor: Any, tmp_path: Path
) -> None:
    expected = DataRoom(digits_processor, kept=tmp_path / "tokens").load(stages[0], None)
    for file in (tmp_path / "tokens").glob("*/ids.npy"):
        file.write_bytes(bytes(len(file.read_bytes())))
    expected = DataRoom(digits_processor).load(stages[0], None)
    counted.clear()
    for _ in range(2):
        assert same(DataRoom(digits_processor, kept=tmp_path / "tokens").load(stages[0], None), expected)
    assert counted == [40, 20]


def test_other_ranks_take_what_rank_0_has_kept_and_never_write(
    stages: tuple[StagePlan, ...],
    counted: list[int],
    digits_processor: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("RANK", "1")
        alone = DataRoom(digits_processor, kept=tmp_path / "tokens").load(stages[0], None)
        assert not (tmp_path / "tokens").exists()
    DataRoom(digits_processor, kept=tmp_path / "tokens").load(stages[0], None)
    counted.clear()
    monkeypatch.setenv("RANK", "1")
    assert same(DataRoom(digits_processor, kept=tmp_path / "tokens").load(stages[0], None), alone)
    assert counted == []


def test_small_data_is_not_kept(stages: tuple[StagePlan, ...], digits_processor: Any, tmp_path: Path) -> None:
    DataRoom(digits_processor, kept=tmp_path / "tokens").load(stages[0], None)
    assert not (tmp_path / "tokens").exists()


def test_another_prior_asks_of_kept_data_what_it_asks_of_files(
    stages: tuple[StagePlan, ...],
    counted: list[int],
    digits_processor: Any,
    make_table: Callable[..., PriorTable],
    tmp_path: Path,
) -> None:
    table = make_table(TableAttribute("weather", ("sun", "rain")))
    with pytest.raises(DataError) as from_files:
        DataRoom(digits_processor).load(stages[0], table)
    DataRoom(digits_processor, kept=tmp_path / "tokens").load(stages[0], None)
    with pytest.raises(DataError) as from_kept:
        DataRoom(digits_processor, kept=tmp_path / "tokens").load(stages[0], table)
    assert str(from_kept.value) == str(from_files.value)
    assert "weather" in str(from_kept.value)


def test_a_cut_asks_of_kept_data_what_it_asks_of_files(
    stages: tuple[StagePlan, ...], counted: list[int], digits_processor: Any, tmp_path: Path
) -> None:
    short = stages[0].model_copy(update={"max_length": 12})
    with pytest.raises(DataError) as from_files:
        DataRoom(digits_processor).load(short, None)
    DataRoom(digits_processor, kept=tmp_path / "tokens").load(stages[0], None)
    with pytest.raises(DataError) as from_kept:
        DataRoom(digits_processor, kept=tmp_path / "tokens").load(short, None)
    assert str(from_kept.value) == str(from_files.value)
    assert "cuts through its images" in str(from_kept.value)


def test_an_image_that_is_gone_since_is_named(
    stages: tuple[StagePlan, ...], counted: list[int], digits_processor: Any, tmp_path: Path
) -> None:
    file, image = stages[0].data[0].path, tmp_path / "mine.png"
    records = json.loads(file.read_text())
    shutil.copy(stages[0].data[0].images / records[0]["image"], image)
    file.write_text(json.dumps([{**records[0], "image": str(image)}, *records[1:]]))
    DataRoom(digits_processor, kept=tmp_path / "tokens").load(stages[0], None)
    image.unlink()
    train = DataRoom(digits_processor, kept=tmp_path / "tokens").load(stages[0], None).train
    with pytest.raises(DataError, match=r"instruct\.json record 0 .*mine\.png is broken .*No such file"):
        train[0]
