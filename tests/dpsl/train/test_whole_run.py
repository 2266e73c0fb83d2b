"""A run of every kind of stage: what it leaves, and that a killed one ends the same."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import dpsl
from dpsl.regularizers.selection_hook import bias_of
from dpsl.routers.find import find_routers
from dpsl.train.run_folder import RunFolder
from priorlang.routing.samples import RoutingSamples, mean_similarity
from priorlang.routing.statistics import RoutingStatistics
from priorlang.table.prior_table import PriorTable
from priorlang.training import load_plan
from tests.dpsl.train.training_files import (
    command,
    environment,
    rows,
    train,
    without_speed,
    write_training_file,
)

STAGES = {"vision": 2, "projector": 2, "shaped": 7, "finetune": 2}


@pytest.fixture(scope="module")
def whole(digits_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    file = write_training_file(tmp_path_factory.mktemp("whole"), digits_data)
    finished = train(file)
    assert finished.returncode == 0, finished.stderr
    assert f"run: {file.parent / 'run'}" in finished.stdout
    assert "Traceback" not in finished.stderr
    (file.parent / "said.txt").write_text(finished.stderr)
    return file.parent / "run"


@pytest.fixture(scope="module")
def resumed(digits_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, killed in the middle of a stage after its second checkpoint, and resumed."""
    file = write_training_file(tmp_path_factory.mktemp("resumed"), digits_data)
    run = file.parent / "run"
    process = subprocess.Popen(
        command(file), env=environment(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    marker = run / "stages" / "shaped" / "checkpoint-4" / "complete.json"
    while not marker.is_file():
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with (run / "metrics.jsonl").open("a") as file_of_rows:
        file_of_rows.write('{"stage": "shaped", "step": 6, "lo')
    finished = train("--resume", run)
    assert finished.returncode == 0, finished.stderr
    return run


def test_the_run_folder_has_what_the_contract_names(whole: Path) -> None:
    for name in ("train.yaml", "prior.prior", "prior.safetensors", "environment.json", "audit.json", "metrics.jsonl",
                 "routing.safetensors", "model/config.json"):  # fmt: skip
        assert (whole / name).is_file(), name
    for stage in STAGES:
        assert (whole / "stages" / stage / "model" / "model.safetensors").is_file()
    assert (whole / "stages" / "shaped" / "checkpoint-6").is_dir()
    assert not (whole / "stages" / "shaped" / "checkpoint-4").exists(), "save_total_limit is 1"
    assert not list(whole.rglob("*.writing"))


def test_the_resolved_file_describes_the_same_training(whole: Path) -> None:
    assert load_plan(whole / "train.yaml") == load_plan(whole.parent / "train.yaml")


def test_every_step_has_one_row(whole: Path) -> None:
    steps = [(row["stage"], row["step"]) for row in rows(whole) if "loss" in row]
    assert steps == [(stage, step) for stage, count in STAGES.items() for step in range(1, count + 1)]


def test_rows_carry_the_shaping_loss_only_where_it_shapes(whole: Path) -> None:
    for row in rows(whole):
        assert ("dpsl" in row) == (row["stage"] == "shaped" and "loss" in row)
        assert (
            ("load_cov" in row)
            == ("z_loss" in row)
            == (row["stage"] in ("shaped", "finetune") and "loss" in row)
        )


def test_every_stage_ends_with_held_out_accuracy(whole: Path) -> None:
    measured = {row["stage"]: row for row in rows(whole) if any(key.startswith("eval_") for key in row)}
    assert set(measured) == set(STAGES)
    assert "eval_digit_accuracy" in measured["vision"]
    assert {"eval_loss", "eval_accuracy", "eval_digit_accuracy"} <= set(measured["finetune"])


def test_the_audit_names_every_router_with_its_gradients(whole: Path) -> None:
    audit = json.loads((whole / "audit.json").read_text())
    assert [router["layer"] for router in audit["routers"]] == [0, 1, 2, 3]
    for router in audit["routers"]:
        assert router["gradient"]["task"] > 0
        assert router["gradient"]["dpsl"] > 0
        assert router["gradient"]["z_loss"] > 0
    assert audit["coefficients"]["weights"] == pytest.approx([0.1])
    assert audit["coefficients"]["scale"] == pytest.approx(1.0)
    assert audit["coefficients"]["regularizer_scale"] == pytest.approx(1.0)
    assert audit["masks"]["tokens"] > 0
    assert audit["warnings"] == audit["blocks_without_router"] == audit["leaf_modules"] == []
    assert len(audit["populations"]) == 8
    assert len({population["tokens"] for population in audit["populations"]}) == 2, "vision and language"


def test_the_audit_is_said_aloud(whole: Path) -> None:
    said = (whole.parent / "said.txt").read_text()
    assert "audit: gradient at each router's logits" in said
    assert "effective coefficient of the shaping term: 0.1" in said


def test_samples_are_of_the_same_tokens_and_experts_are_compared(whole: Path) -> None:
    folder = RunFolder(whole).stage("shaped")
    samples, statistics = RoutingSamples.read(folder.samples), RoutingStatistics.read(folder.routing)
    drawn_G = np.bincount(samples.group, minlength=len(statistics.tokens))
    assert drawn_G.tolist() == statistics.tokens.clip(max=512).tolist()
    assert samples.probability.sum(1) == pytest.approx(1.0, abs=2e-3)
    means_K = samples.tokens_of(0).mean(0)
    assert means_K == pytest.approx(statistics.probability[0] / statistics.tokens[0], abs=0.1)
    assert samples.layer.tolist() == [0, 1, 2, 3]
    assert samples.compared > 0
    assert samples.similarity.diagonal(0, 1, 2) == pytest.approx(1.0, abs=1e-5)
    # Experts are copies with some noise on them, and were hardly trained.
    assert 0.1 < mean_similarity(samples.similarity[0]) < 1.0


@pytest.mark.parametrize("name", ["whole", "resumed"])
def test_tensorboard_has_every_scalar_of_the_rows_at_their_steps(
    name: str, request: pytest.FixtureRequest
) -> None:
    run = request.getfixturevalue(name)
    for stage in STAGES:
        events = EventAccumulator(str(RunFolder(run).tensorboard / stage), size_guidance={"scalars": 0})
        events.Reload()
        found = {
            (tag, event.step): event.value
            for tag in events.Tags()["scalars"]
            for event in events.Scalars(tag)
        }
        own = [row for row in rows(run) if row["stage"] == stage]
        expected = {
            (tag_of(key), row["step"]): value
            for row in own
            for key, value in row.items()
            if key not in ("stage", "step")
        }
        assert expected.keys() <= found.keys()
        for key, value in expected.items():
            if name == "whole" or "tokens_per_second" not in key[0]:
                assert found[key] == pytest.approx(value, rel=1e-6), (stage, key)
        losses = [event.step for event in events.Scalars("train/loss")]
        assert losses == list(range(1, STAGES[stage] + 1)), "each step once, also after a kill"


def tag_of(key: str) -> str:
    """What transformers calls a metric in TensorBoard."""
    return f"eval/{key.removeprefix('eval_')}" if key.startswith("eval_") else f"train/{key}"


def test_routing_is_of_the_held_out_tokens(whole: Path) -> None:
    last = RoutingStatistics.read(whole / "routing.safetensors")
    shaped = RoutingStatistics.read(whole / "stages" / "shaped" / "routing.safetensors")
    assert last.tokens.tolist() == shaped.tokens.tolist()
    assert (last.load.sum(1) == 2 * last.tokens).all()
    assert not (whole / "stages" / "projector" / "routing.safetensors").exists()


def test_the_final_model_loads_with_its_experts(whole: Path) -> None:
    model = dpsl.load_model(RunFolder(whole).model)
    assert [router.layer for router in find_routers(model)] == [0, 1, 2, 3]
    last = [row for row in rows(whole) if "deepseek_bias_range" in row][-1]
    biases = [bias_of(router) for router in find_routers(model)]
    assert max(float(bias_K.max() - bias_K.min()) for bias_K in biases) == pytest.approx(
        last["deepseek_bias_range"]
    )
    assert last["deepseek_bias_range"] > 0
    assert PriorTable.load(RunFolder(whole).prior_table).header.experts == 4


def test_a_killed_run_ends_as_if_nothing_had_happened(whole: Path, resumed: Path) -> None:
    assert [without_speed(row) for row in rows(resumed)] == [without_speed(row) for row in rows(whole)]
    for name in ("model/model.safetensors", "routing.safetensors", "stages/shaped/routing.safetensors"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes(), name
