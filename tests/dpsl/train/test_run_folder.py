"""Writing that a kill cannot spoil, and folders that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dpsl.train.run_folder import (
    RunFolder,
    RunFolderError,
    StageFolder,
    create_run_folder,
    open_run_folder,
    read_metrics,
    refuse_folder,
    replacing,
    write_json,
)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})

    def killed_halfway() -> None:
        with replacing(path) as beside:
            beside.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        killed_halfway()
    assert json.loads(path.read_text()) == {"a": 1}


def test_a_folder_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with replacing(tmp_path / "model") as beside:
            beside.mkdir()
            (beside / content).write_text(content)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["new"]


def test_rewinding_drops_a_broken_line_and_what_will_come_again(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for stage, step in (("one", 1), ("one", 2), ("two", 1), ("two", 2), ("two", 3)):
        run.append_metrics({"stage": stage, "step": step})
    with run.metrics.open("a") as file:
        file.write('{"stage": "two", "st')
    run.rewind_metrics(("one", "two", "three"), "two", 2)
    assert [(row["stage"], row["step"]) for row in read_metrics(run)] == [
        ("one", 1),
        ("one", 2),
        ("two", 1),
        ("two", 2),
    ]
    assert run.metrics.read_text().endswith("\n")


def test_a_half_written_checkpoint_is_none(tmp_path: Path) -> None:
    stage = StageFolder(tmp_path)
    for step in (2, 10, 4):
        stage.checkpoint(step).mkdir()
        stage.complete_checkpoint(step, keep=3)
    stage.checkpoint(12).mkdir()
    (tmp_path / "model.writing").mkdir()
    assert stage.checkpoints() == [2, 4, 10]
    stage.drop_unfinished()
    assert not stage.checkpoint(12).exists()
    assert not (tmp_path / "model.writing").exists()
    stage.complete_checkpoint(10, keep=1)
    assert stage.checkpoints() == [10]
    assert not stage.checkpoint(2).exists()


def test_a_folder_with_a_run_says_how_to_go_on(tmp_path: Path) -> None:
    run = create_run_folder(tmp_path / "run")
    write_json(run.plan, {})
    with pytest.raises(RunFolderError, match="--resume"):
        create_run_folder(tmp_path / "run")
    assert open_run_folder(tmp_path / "run") == run


def test_folders_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunFolderError, match="cannot write"):
        refuse_folder(tmp_path / "file" / "run")
    with pytest.raises(RunFolderError, match="cannot write"):
        refuse_folder(tmp_path / "file")
    with pytest.raises(RunFolderError, match="not empty"):
        refuse_folder(tmp_path)
    with pytest.raises(RunFolderError, match="no run to resume"):
        open_run_folder(tmp_path)
    create_run_folder(tmp_path / "run")
    with pytest.raises(RunFolderError, match="stopped here before it had begun"):
        refuse_folder(tmp_path / "run")


def test_one_run_at_a_time(tmp_path: Path) -> None:
    run = create_run_folder(tmp_path / "run")
    with run.locked(), pytest.raises(RunFolderError, match="another process"), run.locked():
        pass
    with run.locked():
        pass
