"""Pages of findings: generated from the registry, complete, and in the documentation."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from priorlang.cli.help import command
from priorlang.diagnostics.pages import all_pages, examples, page
from priorlang.diagnostics.registry import REGISTRY

DOCS = Path(__file__).parents[3] / "docs"


def test_documentation_is_up_to_date() -> None:
    assert (DOCS / "findings.md").read_text(encoding="utf-8") == all_pages(), "run `make docs`"


def test_every_example_is_of_a_finding_and_shows_it() -> None:
    assert set(examples()) <= set(REGISTRY)
    for name, example in examples().items():
        if "```" in example:
            assert f": [{name}]" in example


def test_what_concerns_a_file_has_an_example() -> None:
    about_text = {
        entry.name for entry in REGISTRY.values() if entry.code[2] in "2345" and not entry.heuristic
    }
    without = about_text - set(examples())
    assert without <= {"model-mismatch", "invalid-weight"}, without


def test_help_prints_the_page_of_a_code_or_a_name() -> None:
    by_code, by_name = (CliRunner().invoke(command, [word]) for word in ("pl301", "conflict"))
    assert by_code.exit_code == by_name.exit_code == 0
    assert by_code.output == by_name.output
    assert "write a different base or weight" in by_code.output
    assert "```" not in by_code.output


def test_help_of_an_unknown_code_suggests() -> None:
    result = CliRunner().invoke(command, ["confict"])
    assert result.exit_code == 2
    assert "did you mean `conflict`?" in result.output


def test_pages_have_advice() -> None:
    for entry in REGISTRY.values():
        assert "**What to do.**" in page(entry)
