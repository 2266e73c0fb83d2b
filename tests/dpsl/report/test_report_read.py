"""A run folder is read as far as it goes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from made_runs import STAGES, follows, modality_prior, write_run

from dpsl.errors import DpslError
from dpsl.report import write_report
from dpsl.report.accuracy import stage_accuracies
from dpsl.report.page import render_page
from dpsl.report.read import read_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    table = modality_prior(tmp_path, layers=1)
    return write_run(tmp_path, table, {"warmup-moe": follows(table)}, done=3)


def test_stages_come_in_the_order_of_the_plan_with_what_they_left(run: Path) -> None:
    record = read_run(run)
    assert [stage.name for stage in record.stages] == [stage["name"] for stage in STAGES]
    assert [stage.done for stage in record.stages] == [True, True, True, False]
    assert [stage.steps for stage in record.stages] == [100, 100, 100, 0]
    assert [stage.moe for stage in record.stages] == [False, False, True, True]
    assert [stage.shaped for stage in record.stages] == [False, False, True, False]
    assert [stage.routing is not None for stage in record.stages] == [False, False, True, False]
    assert not record.finished
    assert record.remarks == ()


def test_a_line_cut_off_by_a_kill_is_left_out(run: Path) -> None:
    before = len(read_run(run).stages[2].training)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "warmup-moe", "step": 105, "lo')
    record = read_run(run)
    assert len(record.stages[2].training) == before
    assert record.stages[2].steps == 100


@pytest.mark.parametrize("line", ["3", "null", '{"step": 4}', '{"stage": null, "step": "x", "loss": []}'])
def test_rows_of_another_shape_do_no_harm(run: Path, line: str) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    assert write_report(run).is_file()


@pytest.mark.parametrize("step", ["NaN", "Infinity", "1e308", "-3", "2.5", "true", '"x"'])
def test_a_row_whose_step_is_no_whole_number_is_left_out_with_a_remark(run: Path, step: str) -> None:
    before = read_run(run).stages[2]
    with (run / "metrics.jsonl").open("a") as file:
        file.write(f'{{"stage": "warmup-moe", "step": {step}, "loss": 1.0}}\n')
    record = read_run(run)
    assert record.stages[2].training == before.training
    assert record.stages[2].steps == 100
    (remark,) = record.remarks
    assert "metrics.jsonl has a row whose step is no whole number" in remark


def test_absurd_numbers_of_a_row_are_gaps(run: Path) -> None:
    odd = {"loss": -1e308, "load_cov": 1e308, "layer.0.load_cov": 10**300, "dpsl": math.inf}
    share = {"eval_accuracy": 1e308, "eval_digit_accuracy": 1.5, "eval_loss": 1e308, "eval_count": 1e308}
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"stage": "warmup-moe", "step": 105, **odd}) + "\n")
        file.write(json.dumps({"stage": "warmup-moe", "step": 105, **share}) + "\n")
    record = read_run(run)
    assert stage_accuracies(record.stages[2]) == {}
    assert math.isnan(record.stages[2].last_loss)
    assert "warmup-moe" in render_page(record)


def test_stages_without_a_plan_are_those_of_the_metrics(run: Path) -> None:
    (run / "plan.json").unlink()
    assert [stage.name for stage in read_run(run).stages] == ["projector", "warmup-dense", "warmup-moe"]


@pytest.mark.parametrize("name", ["prior.safetensors", "stages/warmup-moe/routing.safetensors", "audit.json"])
def test_a_spoilt_file_is_left_out_with_a_remark(run: Path, name: str) -> None:
    (run / name).write_bytes(b"\xff\x00 no such thing")
    record = read_run(run)
    assert len(record.remarks) == 1
    assert Path(name).name in record.remarks[0]
    assert record.remarks[0] in render_page(record)


def test_routing_of_another_prior_is_left_out_with_a_remark(run: Path, tmp_path: Path) -> None:
    other = modality_prior(tmp_path, layers=1, experts=8)
    follows(other, 50).save(run / "stages" / "warmup-moe" / "routing.safetensors")
    record = read_run(run)
    assert record.stages[2].routing is None
    assert "another prior" in record.remarks[0]


def test_a_stage_not_begun_has_no_loss(run: Path) -> None:
    assert math.isnan(read_run(run).stages[3].last_loss)


def test_a_folder_without_a_run_is_refused_by_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DpslError, match=r"plan\.json nor metrics\.jsonl"):
        write_report(tmp_path)
    with pytest.raises(DpslError, match="no such folder"):
        write_report(tmp_path / "nowhere")
    (tmp_path / "plan.json").touch()
    with pytest.raises(DpslError, match="it is a file; name the folder"):
        write_report(tmp_path / "plan.json")
