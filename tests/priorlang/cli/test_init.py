"""`priorlang init`: every ready-made prior can be started from, and is clean."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from priorlang.cli.commands import cli
from priorlang.cli.init import command
from priorlang.phases import Prior
from priorlang.ready_made import spec_names, spec_text
from priorlang.syntax import SourceFile, parse
from priorlang.syntax.comment_map import map_comments
from priorlang.syntax.reformat import formatted

# What the paper found to be worse, and why: a class with one expert, of two that each token is routed to.
ILL_CONCEIVED = {f"table-10/setting-{number}": ["starved-class"] for number in ("III", "IV")}


@pytest.mark.parametrize("name", spec_names())
def test_ready_made_priors_are_clean_and_canonical(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(command, [str(tmp_path / "new"), "--from", name])
    assert result.exit_code == 0, result.output
    (file,) = (tmp_path / "new").iterdir()
    prior = Prior.read(file)
    assert [finding.name for finding in prior.findings] == ILL_CONCEIVED.get(name, [])
    assert formatted(prior.source) == prior.source.text
    assert prior.table.population_count > 0


def test_the_priors_of_the_paper_are_there() -> None:
    settings = {f"table-10/setting-{number}" for number in ("I", "II", "III", "IV")}
    assert settings | {"symmetric", "uniform", "modality", "task"} <= set(spec_names())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "modality.prior").write_text("mine")
    result = CliRunner().invoke(command, [str(tmp_path)])
    assert result.exit_code == 2
    assert (tmp_path / "modality.prior").read_text() == "mine"


def test_unknown_name_suggests(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, [str(tmp_path), "--from", "modalty"])
    assert result.exit_code == 2
    assert "did you mean `modality`?" in result.output


def test_list_says_what_each_is() -> None:
    result = CliRunner().invoke(command, ["--list"])
    assert len(result.output.splitlines()) == len(spec_names())


@pytest.mark.parametrize("name", spec_names())
def test_every_statement_of_a_ready_made_prior_has_a_comment_that_teaches(name: str) -> None:
    document, _ = parse(SourceFile(f"{name}.prior", spec_text(name)))
    mapped = map_comments(document)
    taught = {type(statement) for statement in document.statements if mapped.before.get(statement.span)}
    assert taught == {type(statement) for statement in document.statements}
    assert document.version is not None
    assert len(mapped.before[document.version.span]) >= 4


@pytest.mark.parametrize("name", spec_names())
def test_the_commands_of_a_lesson_work_as_they_stand(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(command, ["--from", name]).output
    lesson = (tmp_path / f"{Path(name).name}.prior").read_text(encoding="utf-8")
    commands = re.findall(r"^#?\s+priorlang +(.*?)(?:[ ]{3,}.*)?$", lesson + said, re.MULTILINE)
    assert {line.split()[0] for line in commands} >= {"validate", "preview"}
    for line in commands:
        if line.split()[0] not in {"preview", "init"}:
            result = CliRunner().invoke(cli, shlex.split(line))
            assert result.exit_code == 0, result.output
