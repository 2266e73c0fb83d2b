"""What a rank does before the first stage and after the last."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from dpsl.train import worker
from dpsl.train.run_folder import RunFolder, create_run_folder
from dpsl.train.worker import read_ahead
from priorlang.training import load_plan
from priorlang.training.plan import TrainingPlan
from tests.dpsl.train.training_files import write_training_file

STAGES = "stages: [{{name: only, max_steps: 1}}]\n"


class Room:
    """Notes what is read."""

    def __init__(self, said: list[str]) -> None:
        self.said = said

    def load(self, stage: Any, table: Any) -> None:
        """Read."""
        self.said.append(f"read {stage.name}")


@pytest.fixture
def plan(tmp_path: Path, digits_data: Path) -> TrainingPlan:
    return load_plan(write_training_file(tmp_path, digits_data, STAGES))


@pytest.mark.parametrize("rank", [0, 1])
def test_rank_0_reads_before_the_others(
    plan: TrainingPlan, rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def together(work: Any) -> None:
        if rank == 0:
            work()
        said.append("all are here")

    monkeypatch.setattr(worker, "launched_together", together)
    room: Any = Room(said)
    read_ahead(RunFolder(plan.output_dir), plan.stages, room)
    first = ["read only"] if rank == 0 else []
    assert said == [*first, "all are here", "read only"]


def test_nothing_is_kept_from_the_last_collection() -> None:
    def fail() -> None:
        with worker._left_to_itself():
            frozen.append(gc.get_freeze_count())
            raise KeyError

    frozen: list[int] = []
    with pytest.raises(KeyError):
        fail()
    assert frozen[0] > 1000
    assert gc.get_freeze_count() == 0


def test_a_finished_run_keeps_its_model_and_no_tokens(plan: TrainingPlan) -> None:
    run = create_run_folder(plan.output_dir)
    run.stage("only").model.mkdir(parents=True)
    (run.stage("only").model / "config.json").write_text("{}")
    (run.tokens / "0123").mkdir(parents=True)
    for _ in range(2):
        worker._complete(run, plan)
        assert (run.model / "config.json").is_file()
        assert not run.tokens.exists()


def test_what_a_kill_left_of_tokens_goes_at_the_next_start(plan: TrainingPlan) -> None:
    run = create_run_folder(plan.output_dir)
    for name in ("0123", "4567.writing"):
        (run.tokens / name).mkdir(parents=True)
    worker._clean_up(run, plan)
    assert [entry.name for entry in run.tokens.iterdir()] == ["0123"]
