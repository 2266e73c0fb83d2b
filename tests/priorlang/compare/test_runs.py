"""Run folders: their priors by meaning, their metrics side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from ideal_routing import ideal_run, swapped, write_run
from prior_programs import HEAD, prior_of

from priorlang.cli.commands import cli
from priorlang.compare.runs import compare_runs
from priorlang.table.dirichlet import top_k_load

RULE = "rule a: for modality vision prefer 0..3 by 0.5\n"


def run_folder(path: Path, boost: str, metrics: list[str]) -> Path:
    path.mkdir()
    text = HEAD + RULE.replace("0.5", boost)
    prior_of(text).table.save(path / "prior.safetensors")
    (path / "prior.prior").write_text(text)
    (path / "metrics.jsonl").write_text("\n".join(metrics))
    return path


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    first = run_folder(
        tmp_path / "first",
        "0.5",
        [
            '{"stage": "warm", "step": 1, "loss": 3.0}',
            '{"stage": "warm", "step": 2, "loss": 2.0, "learning_rate": 1e-3}',
            '{"stage": "tune", "step": 3, "loss": NaN, "eval_exact": 0.5}',
            "3",
            "[" * 50_000,
            '{"stage": "tune", "st',
        ],
    )
    second = run_folder(tmp_path / "second", "1", ['{"stage": "warm", "step": 2, "loss": 1.5}'])
    return first, second


def test_the_last_value_of_each_stage_counts(runs: tuple[Path, Path]) -> None:
    found = {(item.stage, item.metric): (item.before, item.after) for item in compare_runs(*runs).metrics}
    assert found["warm", "loss"] == (2.0, 1.5)
    assert found["tune", "eval_exact"] == (0.5, None)
    assert set(found) == {("warm", "loss"), ("tune", "loss"), ("tune", "eval_exact")}


def test_diff_of_runs(runs: tuple[Path, Path]) -> None:
    result = CliRunner().invoke(cli, ["diff", *map(str, runs), "--format", "json"])
    assert result.exit_code == 1
    document = json.loads(result.output)
    assert document["rules"]["changed"][0]["name"] == "a"
    assert document["cells"]["changed"] == 24 * 5
    (nan,) = (item for item in document["metrics"] if (item["stage"], item["metric"]) == ("tune", "loss"))
    assert nan == {"stage": "tune", "metric": "loss", "before": None, "after": None}
    human = CliRunner().invoke(cli, ["diff", *map(str, runs)])
    assert "nan → –" in human.output
    assert CliRunner().invoke(cli, ["diff", str(runs[0]), str(runs[0])]).exit_code == 0


def test_how_routing_moved(tmp_path: Path) -> None:
    """The second run sends every kind of tokens to the opposite experts: far from its prior, under other loads."""
    table = prior_of(HEAD + RULE).table
    attained = ideal_run(table)
    first = write_run(tmp_path / "first", attained)
    second = write_run(tmp_path / "second", swapped(attained))
    found = compare_runs(first, second)
    assert not found.remarks
    assert [item.kind for item in found.routing] == ["vision", "language"]
    vision, language = found.routing
    assert vision.ks[0] is not None
    assert vision.ks[1] is not None
    assert vision.ks[0] < 0.01 < 0.1 < vision.ks[1]
    asked = top_k_load(table.alpha[table.row[0, :1]], 2)[0]
    assert vision.load[0] == pytest.approx(asked, abs=1e-4)
    assert vision.load[1] == pytest.approx(asked[::-1], abs=1e-4)
    assert language.ks == pytest.approx((0, 0), abs=0.01)
    words = CliRunner().invoke(cli, ["diff", str(first), str(second)]).output
    assert "of the load moved, most at expert" in words
    document = json.loads(
        CliRunner().invoke(cli, ["diff", str(first), str(second), "--format", "json"]).output
    )
    assert document["routing"][0]["tokens"] == "vision"


def test_metrics_that_did_not_move_are_counted(runs: tuple[Path, Path]) -> None:
    output = CliRunner().invoke(cli, ["diff", str(runs[0]), str(runs[0])]).output
    assert "3 metrics are the same" in output
    assert "no routing:" in output
    assert "warm " not in output
    whole = CliRunner().invoke(cli, ["diff", "--all", str(runs[0]), str(runs[0])]).output
    assert "warm " in whole


def test_a_run_whose_source_cannot_be_read_still_has_its_table(runs: tuple[Path, Path]) -> None:
    (runs[0] / "prior.prior").write_text('priorlang 1\nimport "gone.prior"\n')
    result = CliRunner().invoke(cli, ["diff", *map(str, runs)])
    assert result.exit_code == 1
    assert "120 of 240 cells changed" in result.output


def test_a_folder_without_a_prior_is_no_run(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["diff", str(tmp_path), str(tmp_path)])
    assert result.exit_code == 2
    assert "is no run folder with a prior" in result.output
