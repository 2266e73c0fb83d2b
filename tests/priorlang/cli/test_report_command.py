"""`priorlang report`."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from priorlang.cli.commands import cli


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "plan.json").write_text('{"stages": [{"name": "projector"}]}', encoding="utf-8")
    return tmp_path


def test_it_prints_the_path_that_it_wrote(run: Path) -> None:
    result = CliRunner().invoke(cli, ["report", str(run)])
    assert (result.exit_code, result.stdout) == (0, f"{run / 'report.html'}\n")
    assert "projector" in (run / "report.html").read_text(encoding="utf-8")


def test_it_writes_where_it_is_told(run: Path) -> None:
    place = run / "new" / "page.html"
    result = CliRunner().invoke(cli, ["report", str(run), "-o", str(place)])
    assert (result.exit_code, result.stdout) == (0, f"{place}\n")
    assert place.is_file()
    assert not (run / "report.html").exists()


def test_a_folder_that_is_no_run_is_one_clear_message(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["report", str(tmp_path)])
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: {tmp_path}: no run is here: it has neither plan.json nor metrics.jsonl; name the folder of a run or of a grid\n"
    )


def test_a_place_that_cannot_be_written_is_one_clear_message(run: Path) -> None:
    taken = run / "taken"
    taken.write_text("", encoding="utf-8")
    result = CliRunner().invoke(cli, ["report", str(run), "-o", str(taken / "page.html")])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {taken / 'page.html'}: cannot be written")


def test_a_folder_of_figures_that_cannot_be_written_is_one_clear_message(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dpsl.report.drawings", lambda _page: {"loss": "<svg/>"})
    taken = tmp_path / "taken"
    taken.write_text("", encoding="utf-8")
    result = CliRunner().invoke(cli, ["report", str(run), "--figures", str(taken)])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {taken / 'loss.svg'}: cannot be written")


@pytest.mark.parametrize(
    ("names", "told"),
    [((), "no figures yet"), (("loss",), "wrote 1 figure"), (("loss", "routing"), "wrote 2 figures")],
)
def test_it_says_how_many_figures_it_wrote_and_where(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], told: str
) -> None:
    monkeypatch.setattr("dpsl.report.drawings", lambda _page: dict.fromkeys(names, "<svg/>"))
    folder = tmp_path / "drawn"
    result = CliRunner().invoke(cli, ["report", str(run), "--figures", str(folder)])
    assert (result.exit_code, result.stdout) == (0, f"{run / 'report.html'}\n")
    assert result.stderr == f"{told}: {folder}\n"
    assert [folder / f"{name}.svg" for name in names] == (sorted(folder.iterdir()) if names else [])
