"""Two processes, or accumulation, train as one process does with the same global batch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dpsl.train.run_folder import RunFolderError, create_run_folder, write_json
from dpsl.train.worker import check_processes
from priorlang.routing.statistics import RoutingStatistics
from tests.dpsl.train.training_files import ONE_SHAPED_STAGE, rows, train, write_training_file

# Every token goes to every expert: a choice of the top 2 can flip in the last bit, and then nothing is close any more.
TOP_K = 4


@pytest.fixture(scope="module")
def alone(digits_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = write_training_file(tmp_path_factory.mktemp("alone"), digits_data, ONE_SHAPED_STAGE, top_k=TOP_K)
    finished = train(file, "--quiet")
    assert finished.returncode == 0, finished.stderr
    return file.parent / "run"


def test_two_processes_give_the_losses_of_one(alone: Path, digits_data: Path, tmp_path: Path) -> None:
    file = write_training_file(tmp_path, digits_data, ONE_SHAPED_STAGE, top_k=TOP_K)
    finished = train(file, "--processes", 2, "--quiet", "--set", "per_device_train_batch_size=2")
    assert finished.returncode == 0, finished.stderr
    assert_same_training(
        tmp_path / "run", alone, ("loss", "dpsl", "grad_norm", "load_cov", "routing_entropy")
    )
    one = RoutingStatistics.read(alone / "routing.safetensors")
    two = RoutingStatistics.read(tmp_path / "run" / "routing.safetensors")
    assert two.tokens.tolist() == one.tokens.tolist()
    one_audit, two_audit = (json.loads((run / "audit.json").read_text()) for run in (alone, tmp_path / "run"))
    assert two_audit["populations"] == one_audit["populations"]
    for expected, found in zip(one_audit["routers"], two_audit["routers"], strict=True):
        assert found["gradient"] == pytest.approx(expected["gradient"], rel=1e-3, abs=1e-9)


def test_a_run_is_not_resumed_by_another_number_of_processes(tmp_path: Path) -> None:
    run = create_run_folder(tmp_path / "run")
    write_json(run.environment, {"processes": 2})
    with pytest.raises(RunFolderError, match="--processes 2"):
        check_processes(run)


def test_accumulation_that_looks_ahead_gives_the_losses_of_one_batch(
    alone: Path, digits_data: Path, tmp_path: Path
) -> None:
    """The load balance, a mean of its own micro-batch, keeps the gradients of a step apart."""
    file = write_training_file(tmp_path, digits_data, ONE_SHAPED_STAGE, top_k=TOP_K, accumulation=4)
    options = ("per_device_train_batch_size=1", "look_ahead=true")
    finished = train(file, "--quiet", *(word for option in options for word in ("--set", option)))
    assert finished.returncode == 0, finished.stderr
    first, expected = rows(tmp_path / "run")[0], rows(alone)[0]
    assert first["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert first["dpsl"] == pytest.approx(expected["dpsl"], rel=1e-5)
    assert first["grad_norm"] == pytest.approx(expected["grad_norm"], rel=0.05)


def assert_same_training(found: Path, expected: Path, keys: tuple[str, ...]) -> None:
    for one, two in zip(rows(expected), rows(found), strict=True):
        assert (one["stage"], one["step"]) == (two["stage"], two["step"])
        for key in keys:
            if key in one:
                assert two[key] == pytest.approx(one[key], rel=1e-4), (one["step"], key)
        if "eval_loss" in one:
            assert two["eval_loss"] == pytest.approx(one["eval_loss"], rel=1e-4)
