"""Trackers over several stages, with stand-ins for the packages: what is opened, gone on with, and closed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from transformers.integrations import MLflowCallback, WandbCallback

from dpsl.train.run_folder import RunFolder
from dpsl.train.trackers import TrackerError, stages_apart, tracker_problem
from priorlang.cli.commands import cli
from tests.dpsl.train.training_files import write_training_file

Said = list[tuple[Any, ...]]


def trainer(kind: type) -> Any:
    """As much of a Trainer as trackers look at."""
    bare = type("Bare", (kind,), {"__init__": lambda _: None, "__del__": lambda _: None})
    handler = SimpleNamespace(callbacks=[bare()])
    return SimpleNamespace(args=SimpleNamespace(run_name=None), callback_handler=handler)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    (tmp_path / "tiny").mkdir()
    return RunFolder(tmp_path / "tiny")


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Error(Exception):
        pass

    said: Said = []
    module = SimpleNamespace(run=None, Error=Error, said=said)

    def init(**given: Any) -> None:
        said.append(("init", given["group"], given["name"]))
        module.run = object()

    def finish(exit_code: int) -> None:
        said.append(("finish", exit_code))
        module.run = None

    module.init, module.finish = init, finish
    for name in ("WANDB_RUN_GROUP", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Any:
    class MlflowError(Exception):
        pass

    said: Said = []
    known: set[str] = set()
    module = SimpleNamespace(
        said=said, known=known, open=None, exceptions=SimpleNamespace(MlflowException=MlflowError)
    )

    def start_run(
        run_id: str | None = None, run_name: str | None = None, tags: dict[str, str] | None = None
    ) -> Any:
        module.open = run_id or f"id-{len(known)}"
        known.add(module.open)
        said.append(("start", run_id, run_name, (tags or {}).get("priorlang.stage")))
        return SimpleNamespace(info=SimpleNamespace(run_id=module.open))

    def end_run(status: str) -> None:
        said.append(("end", module.open, status))
        module.open = None

    def get_run(run_id: str) -> Any:
        if run_id not in known:
            raise MlflowError(f"Run '{run_id}' not found")
        return SimpleNamespace(info=SimpleNamespace(lifecycle_stage="active"))

    module.start_run, module.end_run, module.get_run = start_run, end_run, get_run
    module.active_run = lambda: module.open
    monkeypatch.setitem(sys.modules, "mlflow", module)
    return module


def test_wandb_has_a_run_for_each_stage_in_the_group_of_the_training(run: RunFolder, wandb: Any) -> None:
    for stage, step in (("warmup", 0), ("finetune", 0), ("finetune", 4)):
        with stages_apart(trainer(WandbCallback), run, stage, step):
            assert wandb.run is not None
    assert wandb.said == [
        ("init", "tiny", "tiny/warmup"), ("finish", 0),
        ("init", "tiny", "tiny/finetune"), ("finish", 0),
        ("init", "tiny", "tiny/finetune from step 5"), ("finish", 0),
    ]  # fmt: skip


def test_a_stage_that_failed_is_closed_as_failed(run: RunFolder, wandb: Any, mlflow: Any) -> None:
    for kind in (WandbCallback, MLflowCallback):
        with (
            pytest.raises(RuntimeError, match="out of memory"),
            stages_apart(trainer(kind), run, "warmup", 0),
        ):
            raise RuntimeError("out of memory")
    assert wandb.said[-1] == ("finish", 1)
    assert mlflow.said[-1] == ("end", "id-0", "FAILED")


def test_mlflow_goes_on_with_the_run_of_its_stage(run: RunFolder, mlflow: Any) -> None:
    for stage in ("warmup", "finetune", "finetune"):
        with stages_apart(trainer(MLflowCallback), run, stage, 0):
            assert mlflow.open is not None
    assert [said for said in mlflow.said if said[0] == "start"] == [
        ("start", None, "tiny/warmup", "warmup"),
        ("start", None, "tiny/finetune", "finetune"),
        ("start", "id-1", None, None),
    ]
    assert mlflow.open is None
    assert json.loads(run.stage("finetune").mlflow.read_text()) == {"run_id": "id-1"}
    mlflow.known.clear()  # another server
    with stages_apart(trainer(MLflowCallback), run, "finetune", 2):
        assert mlflow.said[-1] == ("start", None, "tiny/finetune", "finetune")


def test_a_run_that_the_caller_opened_is_used_and_left_open(run: RunFolder, wandb: Any, mlflow: Any) -> None:
    wandb.run, mlflow.open = object(), "mine"
    for kind in (WandbCallback, MLflowCallback):
        with stages_apart(trainer(kind), run, "warmup", 0):
            pass
    assert (wandb.said, mlflow.said) == ([], [])


def test_a_tracker_that_takes_no_run_is_one_error_with_the_fix(run: RunFolder, wandb: Any) -> None:
    def init(**_: Any) -> None:
        raise wandb.Error("No API key configured.\nUse `wandb login`")

    wandb.init = init
    with (
        pytest.raises(
            TrackerError, match=r"report_to: wandb: No API key configured\.; `wandb login`, or set"
        ),
        stages_apart(trainer(WandbCallback), run, "warmup", 0),
    ):
        pass


def test_what_is_wrong_with_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    available = "dpsl.train.trackers.get_available_reporting_integrations"
    monkeypatch.setattr(available, lambda: ["tensorboard", "mlflow"])
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    assert tracker_problem("tensorboard") is tracker_problem("mlflow") is tracker_problem("all") is None
    assert tracker_problem("wandb") == (
        "`wandb` is not installed", "`pip install wandb`, or leave it out of `report_to`",
    )  # fmt: skip
    assert tracker_problem("wanbd") == ("there is no tracker `wanbd`", "did you mean `wandb`?")
    monkeypatch.setenv("MLFLOW_RUN_ID", "abc")
    assert "MLFLOW_RUN_ID" in (tracker_problem("mlflow") or ("",))[0]


def test_a_tracker_that_is_not_there_is_told_at_its_key(digits_data: Path, tmp_path: Path) -> None:
    stages = "report_to: [tensorboard, wanbd]\nstages: [{{name: a, train: [projector]}}, {{name: b}}]\n"
    file = write_training_file(tmp_path, digits_data, stages)
    result = CliRunner().invoke(cli, ["train", str(file)])
    assert result.exit_code == 1, result.output
    assert result.output.count("error[") == 1
    assert "there is no tracker `wanbd`; did you mean `wandb`?" in result.output
    assert "train.yaml:12:26" in result.output
    assert not (tmp_path / "run").exists()
