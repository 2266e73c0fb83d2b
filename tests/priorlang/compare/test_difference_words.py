"""What people read of a difference: large ones fit a screen, and Markdown is no more than text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from prior_programs import prior_of

from priorlang.cli.commands import cli
from priorlang.compare.difference import Difference, Side, compare
from priorlang.compare.human import difference_text
from priorlang.compare.markdown import code, difference_markdown
from priorlang.compare.summary import changes_of, runs


def many(by: str, weight: str = "0.01", sets: int = 30) -> str:
    """A prior with a rule for each of many data sets."""
    members = ", ".join(f"d{index}" for index in range(sets))
    head = (
        "priorlang 1\nmodel { layers = 12  experts = 32  top_k = 4 }\n"
        f"attribute dataset {{ {members} }}\ndefault base 0.5 weight {weight}\n"
    )
    return head + "".join(
        f"rule r{index}: for dataset d{index} prefer {index} by {by}\n" for index in range(sets)
    )


def difference(before: str, after: str) -> Difference:
    first, second = prior_of(before), prior_of(after)
    return compare(Side("a.prior", first.table, first.spec), Side("b.prior", second.table, second.spec))


RAMPS = "ramp 0.5 to 1 over layers 0..11", "ramp 0.75 to 1.5 over layers 0..11"


@pytest.mark.parametrize("amounts", [("0.5", "0.75"), RAMPS])
def test_a_large_change_fits_a_screen_and_counts_the_rest(amounts: tuple[str, str]) -> None:
    found = difference(*map(many, amounts))
    text = difference_text(found, None)
    assert len(text.splitlines()) < 50
    assert re.search(r"… and 22 more rules \(`--all` prints them\)", text)
    hidden = re.search(r"… and (\d+) more regions with ([\d,]+) cells", text)
    assert hidden
    shown = sum(int(count) for count in re.findall(r"\((\d+) cells?\)", text))
    assert shown + int(hidden[2].replace(",", "")) == found.changed_cells == 360
    whole = difference_text(found, None, everything=True)
    assert "more" not in whole
    assert all(f"dataset d{index} " in whole for index in range(30))


def test_the_largest_effects_come_first() -> None:
    changes = changes_of(difference(*map(many, RAMPS)))
    effects = [change.effect for change in changes]
    assert effects == sorted(effects, reverse=True)
    assert sum(effects) == pytest.approx(
        sum(region.effect for region in difference(*map(many, RAMPS)).regions)
    )


def test_another_weight_of_many_priors_is_one_change() -> None:
    (change,) = changes_of(difference(many("0.5"), many("0.5", weight="0.02")))
    assert (change.cells, len(change.regions), change.where) == (360, 30, "everywhere")
    assert "λ 0.01 → 0.02" in difference_text(difference(many("0.5"), many("0.5", weight="0.02")), None)


@pytest.mark.parametrize(
    ("values", "words"),
    [([1.0, 1.0, 0.5], "1×2 0.5"), ([], ""), ([float(value) for value in range(20)], "0 1 2 3 … 17 18 19")],
)
def test_vectors_are_written_short(values: list[float], words: str) -> None:
    assert runs(values) == words


def test_markdown_tables_have_as_many_cells_in_every_row() -> None:
    text = difference_markdown(difference(*map(many, RAMPS)), None)
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1
    assert text.count("<details>") == text.count("</details>") == 2
    assert len(text) < 65_536


@pytest.mark.parametrize("text", ["a|b", "a`b", "``", "<b>", "x\\|y", "line\nline", "*_[a](b)", ""])
def test_names_in_markdown_are_text(text: str) -> None:
    shown = code(text)
    assert "\n" not in shown
    inside = re.fullmatch(r"`([^`]*)`|<code>([^`<|]*)</code>", shown)
    assert inside, shown
    if inside[1] is not None:
        assert not re.search(r"(?<!\\)\|", inside[1])


def test_every_form_of_the_command_says_the_same(tmp_path: Path) -> None:
    files = []
    for name, by in zip("ab", RAMPS, strict=True):
        files.append(str(tmp_path / f"{name}.prior"))
        Path(files[-1]).write_text(many(by))
    for form in ("human", "markdown", "json"):
        result = CliRunner().invoke(cli, ["diff", *files, "--format", form])
        assert result.exit_code == 1
        assert CliRunner().invoke(cli, ["diff", files[0], files[0], "--format", form]).exit_code == 0
    document = json.loads(result.output)
    assert document["cells"]["changed"] == 360
    assert CliRunner().invoke(cli, ["diff", files[0]]).exit_code == 2
    assert CliRunner().invoke(cli, ["diff", *files, files[0]]).exit_code == 2


def test_other_experts_and_other_pools_have_words_of_their_own() -> None:
    more = many("0.5").replace("experts = 32", "experts = 33")
    assert "KL undefined between different experts" in difference_text(difference(many("0.5"), more), None)
    assert "| undefined between different experts |" in difference_markdown(
        difference(many("0.5"), more), None
    )
    pooled = "rule r0: for dataset d0 weight 0.01 split by dataset\n"
    before = many("0.5", sets=1).split("rule")[0].replace("{ d0 }", "{ d0, d1 }")
    assert "tokens pooled otherwise" in difference_text(
        difference(before, before + pooled.replace("for dataset d0 ", "")), None
    )


def test_a_training_file_is_no_prior(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text("model_name_or_path: a\nprior: a.prior\noutput_dir: out\n")
    for words in (["diff", str(path), str(path)], ["preview", str(path), "-o", str(tmp_path / "o.html")]):
        result = CliRunner().invoke(cli, words)
        assert (result.exit_code, "is a training file" in result.output) == (2, True)
