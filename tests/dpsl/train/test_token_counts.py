"""`validate TRAIN.yaml` counts the tokens of each shaped stage, and judges the prior by them."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from priorlang.cli.validate import command
from tests.dpsl.train.training_files import write_training_file


def shaped(digits: Path, folder: Path, records: int) -> Path:
    """A training file whose only stage is shaped, on a few records of the example."""
    folder.mkdir()
    entries = json.loads((digits / "instruct.json").read_text())[:records]
    (folder / "few.json").write_text(json.dumps(entries))
    file = write_training_file(
        folder / "run", digits, "stages: [{{name: shaped, shape: true, max_steps: 1}}]\n"
    )
    file.write_text(file.read_text().replace(f"{digits}/instruct.json", f"{folder}/few.json"))
    return file


def test_the_data_of_a_shaped_stage_is_counted(digits_data: Path, tmp_path: Path) -> None:
    file = shaped(digits_data, tmp_path / "counted", 40)
    result = CliRunner().invoke(command, [str(file)])
    assert result.exit_code == 0, result.output
    assert "stage shaped: counted" in result.output
    assert "(4 samples, on one process)" in result.output


def test_shares_that_are_given_go_before_the_data(digits_data: Path, tmp_path: Path) -> None:
    file = shaped(digits_data, tmp_path / "given", 4)
    result = CliRunner().invoke(command, [str(file), "--shares", "modality.vision=1,modality.language=0"])
    assert "counted" not in result.output
    assert "unseen-class" in result.output


def test_data_that_cannot_be_counted_is_a_remark(digits_data: Path, tmp_path: Path) -> None:
    file = shaped(digits_data, tmp_path / "broken", 4)
    (tmp_path / "broken" / "few.json").write_text("{")
    result = CliRunner().invoke(command, [str(file)])
    assert result.exit_code == 0, result.output
    assert "its tokens are not counted" in result.output
