"""`validate --shares`, `--batch-tokens` and `--sensitivity`: the forms they take, and what they print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from priorlang.cli.validate import command

SPECS = Path(__file__).parents[3] / "specs"
FOURTH = str(SPECS / "table-10" / "setting-IV.prior")


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, list(arguments))
    assert not isinstance(result.exception, Exception), result.output
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("counts.json", '{"modality": {"vision": 850, "language": 150}}'),
        ("counts.yaml", "modality: {vision: 850, language: 150}"),
        ("counts.yml", "- {modality: vision, count: 850}\n- {modality: language, count: 150}"),
    ],
)
def test_files_of_counts(name: str, content: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(content)
    code, output = run(FOURTH, "--shares", str(file), "--format", "json")
    names = {finding["name"] for finding in json.loads(output)["findings"]}
    assert (code, "shortfall" in names) == (0, True)


@pytest.mark.parametrize(
    ("name", "content", "exits", "words"),
    [
        ("a.json", "{", 2, "as JSON"),
        ("a.json", '{"modality": {"vision": 1, "language": 2, "vision": 3}}', 2, "`vision` stands twice"),
        ("a.yaml", "modality: {vision: 1, language: 2, vision: 3}", 2, "`vision` stands twice"),
        ("a.yaml", "&a [*a]", 2, "as YAML"),
        ("a.json", "3", 2, "a file of counts holds"),
        ("a.yaml", "{", 2, "as YAML"),
        ("a.yaml", "modality: {vision: 1}", 1, "leave out language"),
        ("a.json", None, 2, "there is no file of counts"),
    ],
)
def test_files_that_are_none(name: str, content: str | None, exits: int, words: str, tmp_path: Path) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_text(content)
    code, output = run(FOURTH, "--shares", str(file))
    assert code == exits, output
    assert words in output
    assert str(file) in output


@pytest.mark.parametrize(
    "option", [("--shares", "modality.vision=0.85"), ("--shares", "vision"), ("--batch-tokens", "0")]
)
def test_an_option_that_is_wrong_is_usage(option: tuple[str, str]) -> None:
    code, output = run(FOURTH, *option)
    assert code == 2, output
    assert option[0] in output


def test_sensitivity_in_words_and_as_a_document() -> None:
    file = str(SPECS / "modality.prior")
    shares = ("--shares", "modality.vision=0.85,modality.language=0.15")
    code, output = run(file, "--sensitivity", *shares)
    assert code == 0
    page = (SPECS.parent / "docs" / "checks" / "sensitivity.md").read_text(encoding="utf-8")
    table = [line for line in output.splitlines() if "expert" in line]
    assert len(table) == 4
    assert all(line in page for line in table)
    (document,) = json.loads(run(file, "--sensitivity", *shares, "--format", "json")[1])["sensitivity"]
    assert [number["name"] for number in document["numbers"]] == ["$boost", "$base"]
    assert document["numbers"][0]["load"]["more"] == pytest.approx(1.220, abs=5e-4)


def test_an_allow_is_idle_where_its_opinion_was_formed_and_said_nothing(tmp_path: Path) -> None:
    first = (SPECS / "table-10" / "setting-I.prior").read_text()
    file = tmp_path / "a.prior"
    opinions = ("starved-class", "uncovered-class", "load-imbalance", "shortfall", "small-population")
    file.write_text(first + "".join(f'allow {opinion} because "?"\n' for opinion in opinions))
    shares = ("--shares", "modality.vision=0.5,modality.language=0.5")

    def idle(*options: str) -> list[str]:
        document = json.loads(run(str(file), *options, "--format", "json")[1])
        assert {finding["name"] for finding in document["findings"]} == {"unused-name"}
        return [finding["severity"] for finding in document["findings"]]

    assert idle() == ["warning", "warning"]
    assert idle(*shares) == ["warning", "warning", "info", "info"]
    assert idle(*shares, "--batch-tokens", "100000") == ["warning", "warning", "info", "info", "info"]
