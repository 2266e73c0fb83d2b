"""`validate --routing` and `fit` as people and programs see them.

`PRIORLANG_GOLDEN=write pytest tests/priorlang/cli/test_routing_commands.py` renews the words.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from ideal_routing import AFTER, BEFORE, cell_alpha, ideal_run, swapped, write_run
from prior_programs import FILES, prior_of

from priorlang.cli.commands import cli

TEXT = """priorlang 1
model { layers = 3  experts = 4  top_k = 2 }
attribute modality { vision, language }
default base 0.75 weight 0.01
rule vision: for modality vision prefer 0..1 by 0.5
rule language: for modality language prefer 2..3 by 0.5
"""


def run(*words: object) -> Result:
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three runs under one prior: before it is on in the wrong order, after it attained, and after it not."""
    monkeypatch.chdir(tmp_path)
    Path("a.prior").write_text(TEXT)
    table = prior_of(TEXT).table
    right = ideal_run(table)
    alpha = cell_alpha(table)
    alpha[0, 1] = [1.5, 0.75, 0.75, 1.5]
    write_run(Path("before"), swapped(right), BEFORE)
    write_run(Path("attained"), right, AFTER)
    write_run(Path("off"), ideal_run(table, alpha), AFTER)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("routing-before", ["validate", "a.prior", "--routing", "before"]),
        ("routing-attained", ["validate", "a.prior", "--routing", "attained"]),
        ("routing-not-attained", ["validate", "a.prior", "--routing", "off"]),
        ("routing-no-run", ["validate", "a.prior", "--routing", "nowhere"]),
        ("fit", ["fit", "off", "-o", "fitted.prior"]),
    ],
)
def test_the_words(name: str, words: list[str]) -> None:
    result = run(*words)
    text = f"$ priorlang {' '.join(words)}\n{result.output}exit {result.exit_code}\n"
    if words[0] == "fit":
        text += f"\n{Path('fitted.prior').read_text()}"
    golden = FILES / "golden" / f"{name}.txt"
    if os.environ.get("PRIORLANG_GOLDEN") == "write":
        golden.write_text(text, encoding="utf-8")
    assert golden.read_text(encoding="utf-8") == text


def test_validate_says_every_figure_in_json() -> None:
    result = run("validate", "a.prior", "--routing", "before", "--format", "json")
    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert {finding["name"] for finding in document["findings"]} == {"prior-mismatch"}
    (routing,) = document["routing"]
    assert (routing["file"], routing["stage"], routing["shaped"]) == ("a.prior", "before", False)
    assert len(routing["populations"]) == 6
    for population in routing["populations"]:
        assert population["flagged"]
        assert sum(population["top_share"]) == pytest.approx(1)
        assert population["tv_top"] == pytest.approx(
            np.abs(np.subtract(population["top_share"], population["top_asked"])).sum() / 2
        )
    assert run("validate", "a.prior", "--routing", "before", "--deny-warnings").exit_code == 1


def test_allow_silences() -> None:
    with open("a.prior", "a") as stream:
        stream.write('allow prior-mismatch in vision because "the experts start as copies"\n')
    result = run("validate", "a.prior", "--routing", "before", "--format", "json")
    (finding,) = json.loads(result.stdout)["findings"]
    assert finding["span"]["start"]["line"] == 6


def test_an_allow_that_this_run_has_no_use_for_is_a_remark() -> None:
    Path("a.prior").write_text(f'{TEXT}allow not-attained because "not yet"\n')
    for name, found in (("attained", ["info"]), ("off", []), ("before", ["warning"])):
        document = json.loads(run("validate", "a.prior", "--routing", name, "--format", "json").stdout)
        assert [finding["severity"] for finding in document["findings"]][:1] == found, name


def test_a_run_that_does_not_fit_is_usage() -> None:
    Path("b.prior").write_text(TEXT.replace("experts = 4", "experts = 8"))
    Path("c.prior").write_text(TEXT + "rule broken: prefer 99 by 1\n")
    result = run("validate", "b.prior", "--routing", "attained", "--format", "json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["routing"] == []
    assert "has 4 experts, the prior has 8" in result.stdout
    assert run("validate", "c.prior", "--routing", "attained").exit_code == 1


def test_fit_of_each_form_says_the_same_and_is_attained() -> None:
    for name in ("one.prior", "two.yaml"):
        assert run("fit", "off", "-o", name, "--tolerance", "0.01", "--quiet").output == ""
    assert run("diff", "one.prior", "two.yaml").exit_code == 0
    assert run("validate", "one.prior", "--routing", "off", "--deny-warnings").exit_code == 0


def test_fit_in_json() -> None:
    document = json.loads(run("fit", "attained", "-o", "x.prior", "--format", "json").stdout)
    assert (document["file"], document["stage"], document["rules"]) == ("x.prior", "shaped", 2)
    assert document["kl"]["max"] < 0.001
    assert document["cells"] == {"total": 6, "unseen": 0}
    assert document["units"][1]["cells"] == [{"layer": 0, "modality": "language"}]
    assert sorted(map(tuple, document["priors"])) == [(0.75, 0.75, 1.25, 1.25), (1.25, 1.25, 0.75, 0.75)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere", "-o", "x.prior"], "nowhere is no folder"),
        (["a.prior", "-o", "x.prior"], "a.prior is a file; name the folder of a run"),
        ([".", "-o", "x.prior"], "this is no folder of a run"),
        (["attained", "-o", "x.txt"], "OUT ends in .prior or .yaml"),
        (["attained", "-o", "no/where.prior"], "cannot be written"),
        (["attained", "-o", "x.prior", "--tolerance", "0"], "a tolerance is above 0"),
        (["attained", "-o", "x.prior", "--tolerance", "nan"], "a tolerance is above 0"),
        (["attained"], "Missing option"),
    ],
)
def test_fit_refuses_in_one_line(words: list[str], said: str) -> None:
    result = run("fit", *words)
    assert result.exit_code == 2
    assert said in result.output
    assert not Path("x.prior").exists()


def test_a_truncated_file_and_an_old_one_are_refused() -> None:
    from safetensors.numpy import save_file

    file = Path("attained/routing.safetensors")
    whole = file.read_bytes()
    for content, said in ((whole[: len(whole) // 2], "cannot be read"), (b"", "cannot be read")):
        file.write_bytes(content)
        for words in (["fit", "attained", "-o", "x.prior"], ["validate", "a.prior", "--routing", "attained"]):
            result = run(*words)
            assert result.exit_code == 2
            assert said in result.output
    save_file({"layer": np.zeros(2)}, file, metadata={"routing": '{"version": 1}'})
    assert (
        "of version 1, and this release reads 2; train again"
        in run("fit", "attained", "-o", "x.prior").output
    )
