"""`priorlang grid FILE --dry-run`, and what the command refuses. Training is tests/dpsl/grid's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from priorlang.cli.commands import cli

MISTAKE = "base: train.yaml\noutput_dir: out\nvary: {a: , b: }\nmetrics: eval_loss\nseedz: [1]\n"


def test_a_mistake_is_shown_in_its_line_and_exits_with_1(tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text(MISTAKE)
    result = CliRunner().invoke(cli, ["grid", str(file)])
    assert result.exit_code == 1
    assert "did you mean `seeds`?" in result.stderr
    assert f"{file}:5:1" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there_exits_with_2(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["grid", str(tmp_path / "no.yaml")])
    assert result.exit_code == 2
    assert "there is no grid file" in result.stderr


@pytest.mark.parametrize("option", ["--jobs=0", "--seeds=0", "--processes=0", "--format=xml"])
def test_impossible_options_are_usage_errors(tmp_path: Path, option: str) -> None:
    assert CliRunner().invoke(cli, ["grid", str(tmp_path / "no.yaml"), option]).exit_code == 2


def test_a_variant_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("")
    file = tmp_path / "grid.yaml"
    file.write_text(MISTAKE.replace("seedz: [1]\n", "").replace("a: ", "sparse: "))
    result = CliRunner().invoke(cli, ["grid", str(file), "--only", "spars"])
    assert result.exit_code == 2
    assert "did you mean `sparse`?" in result.stderr


def test_reading_a_grid_needs_no_torch() -> None:
    from subprocess import run

    code = "import sys, priorlang.grid.forecast, priorlang.grid.table, priorlang.cli.grid; sys.exit('torch' in sys.modules)"
    assert run([sys.executable, "-c", code], check=False).returncode == 0


def test_validate_checks_a_grid_file_and_its_training_files(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"num_hidden_layers": 4}')
    (tmp_path / "data.json").write_text("[]")
    (tmp_path / "a.prior").write_text("priorlang 1\ndefault base 1 weight 0.01\n")
    (tmp_path / "train.yaml").write_text(
        "model: {config: config.json}\nprior: a.prior\noutput_dir: run\nupcycle: {experts: 4, top_k: 2}\n"
        "data: {path: data.json}\nstages: [{name: moe, shape: true}]\n"
    )
    file = tmp_path / "grid.yaml"
    file.write_text("base: train.yaml\noutput_dir: out\nvary: {a: , b: {set: {stages.moe.shape: false}}}\n")
    result = CliRunner().invoke(cli, ["validate", str(file)])
    assert result.exit_code == 0, result.output
    assert "a grid of 6 cells (2 variants, 3 seeds)" in result.output
    assert f"`priorlang grid {file} --dry-run`" in result.output
    result = CliRunner().invoke(cli, ["validate", str(file), "--set", "seeds=3"])
    assert result.exit_code == 1
    assert "a grid has a `set:` of its own" in result.output
    (tmp_path / "data.json").unlink()
    result = CliRunner().invoke(cli, ["validate", str(file)])
    assert result.exit_code == 1
    assert "data.json" in result.output


def test_validate_shows_the_mistakes_of_a_grid_file(tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text(MISTAKE)
    result = CliRunner().invoke(cli, ["validate", str(file)])
    assert result.exit_code == 1
    assert "did you mean `seeds`?" in result.output
    assert f"{file}:5:1" in result.output
