"""Impatient and hostile use of the command line: exit codes, and never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from prior_programs import HEAD

from priorlang.cli.commands import COMMANDS, cli
from priorlang.phases import Prior

PARAMETERS = HEAD + (
    "param boost = 0.5\nparam last = 3\nparam peak = (3, 1, 1, 1, 1, 1, 1, 1)\n"
    "experts visual = ..$last\n"
    "rule a: for modality vision prefer visual by $boost\nrule b: for task ocr base $peak\n"
)


def run(*words: object) -> Result:
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


@pytest.fixture
def prior(tmp_path: Path) -> Path:
    path = tmp_path / "a.prior"
    path.write_text(PARAMETERS)
    return path


@pytest.mark.parametrize(
    ("setting", "exits", "words"),
    [
        ("boost=1", 0, ""),
        (" boost = 1e-1 ", 0, ""),
        ("last=0", 0, ""),
        ("peak=(1, 2, 3, 4, 5, 6, 7, 8)", 0, ""),
        ("boost", 2, "is not NAME=VALUE"),
        ("=1", 2, "is not NAME=VALUE"),
        ("boost=", 2, "is not a number"),
        ("boost=a=b=c", 2, "'a=b=c' is not a number"),
        ("boost=-1", 2, "never negative"),
        ("boost=nan", 2, "is not a number"),
        ("boost=1e999", 2, "exponent"),
        ("boost=(1,,2)", 2, "is not a number"),
        ("boots=1", 2, "did you mean `boost`"),
        ("boost=(1, 2)", 1, "not a vector"),
        ("last=0.5", 1, "whole numbers"),
        ("last=9", 1, "experts run from 0 to 7"),
        ("last=1e300", 1, "there is no expert"),
        ("peak=(1, 2)", 1, "2 numbers, and the model has 8 experts"),
    ],
)
def test_set(prior: Path, setting: str, exits: int, words: str) -> None:
    result = run("validate", prior, "--set", setting)
    assert result.exit_code == exits, result.output
    assert words in result.output
    document = json.loads(run("validate", prior, "--set", setting, "--format", "json").stdout)
    assert bool(document["summary"]["errors"]) == (exits != 0)


def test_a_parameter_that_is_set_counts(prior: Path) -> None:
    result = run("explain", prior, "--at", "modality=vision layer=0", "--set", "boost=2", "--set", "last=1")
    assert "prefer 0..1 by 2" in result.output
    assert run("diff", prior, prior, "--set", "boost=9").exit_code == 0


@pytest.mark.parametrize(
    "words", [["validate"], ["explain", "a.prior"], ["compile", "a.prior"], ["diff", "a"]]
)
def test_what_is_missing_is_usage(words: list[str]) -> None:
    assert run(*words).exit_code == 2


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"help", "lsp"}))
def test_every_command_can_be_quiet(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert "--quiet" in result.output


def test_a_command_that_does_not_exist_is_suggested() -> None:
    result = run("validat")
    assert result.exit_code == 2
    assert "did you mean `validate`?" in result.output


@pytest.mark.parametrize(
    "name", ["", ".", "none.prior", "none/none.prior", "x" * 5000, "x" * 5000 + ".prior"]
)
def test_what_is_no_file_is_io(tmp_path: Path, prior: Path, name: str) -> None:
    file = f"{tmp_path}/{name}"
    for words in (
        ["validate", file],
        ["validate", prior, file, "--format", "json"],
        ["explain", file, "--at", "layer=0"],
        ["compile", file, "-o", tmp_path / "t.safetensors"],
        ["diff", prior, file],
    ):
        assert run(*words).exit_code == 2


def test_what_cannot_be_written_is_io(tmp_path: Path, prior: Path) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "file").write_text("")
    for target in ("folder.safetensors", "no/where.safetensors", "file/t.safetensors", "a.txt"):
        assert run("compile", prior, "-o", tmp_path / target).exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.prior", "file", "folder.safetensors"]


def test_a_compiled_table_is_no_source(tmp_path: Path, prior: Path) -> None:
    table = tmp_path / "t.safetensors"
    assert run("compile", prior, "-o", table).exit_code == 0
    result = run("validate", table)
    assert result.exit_code == 2
    assert "is a compiled table" in result.output
    assert run("diff", prior, table).exit_code == 0


def test_warnings_fail_only_where_they_are_denied(tmp_path: Path) -> None:
    path = tmp_path / "a.prior"
    path.write_text(
        HEAD.replace("top_k = 2", "top_k = 2 routed = 12..") + "rule a: in layers 3 prefer 0 by 1\n"
    )
    assert run("validate", path).exit_code == 0
    assert run("validate", path, "--deny-warnings").exit_code == 1


def test_explain_finds_names_with_spaces(tmp_path: Path) -> None:
    path = tmp_path / "a.prior"
    path.write_text(
        HEAD + 'attribute "data set" { "a b", "c,d" }\nrule r: for "data set" "a b" prefer 0 by 1\n'
    )
    result = run("explain", path, "--at", 'modality=vision layer=3 "data set"="a b"', "--format", "json")
    assert json.loads(result.stdout)["cell"]["data set"] == "a b"
    missing = run("explain", path, "--at", "modality=vision layer=3")
    assert missing.exit_code == 2
    assert '"data set"="a b"' in missing.output


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a.prior"
    path.write_text(HEAD + "rule \x1b[31mred: prefer 0 by 1\n")
    result = run("validate", path)
    assert result.exit_code == 1
    assert "\x1b" not in result.output


def test_a_reader_that_leaves_is_no_crash() -> None:
    command = [sys.executable, "-m", "priorlang", "help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 2
    assert b"Traceback" not in errors
    assert b"BrokenPipe" not in errors


def test_output_that_cannot_be_written_is_io(tmp_path: Path) -> None:
    with open(tmp_path / "out", "w") as writable, open(tmp_path / "out") as unwritable:
        command = [sys.executable, "-m", "priorlang", "help"]
        process = subprocess.run(command, stdout=unwritable, stderr=subprocess.PIPE, check=False, timeout=60)
        assert not writable.tell()
    assert process.returncode == 2
    assert b"Traceback" not in process.stderr
    assert process.stderr.startswith(b"error: ")


def test_a_name_that_is_no_text_can_be_shown(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.prior"
    with open(name, "w") as stream:
        stream.write(HEAD + "rule a: prefer 9 by 1\n")
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    for form in ("human", "json"):
        command = [sys.executable, "-m", "priorlang", "validate", name, "--format", form]
        process = subprocess.run(command, capture_output=True, check=False, timeout=60, env=environment)
        assert process.returncode == 1
        assert b"Traceback" not in process.stderr
        assert b"out-of-range" in process.stdout


def test_a_fault_of_ours_exits_with_2(prior: Path) -> None:
    code = (
        "import sys, priorlang.phases as phases, priorlang.cli as cli\n"
        "phases.resolve = lambda *_: 1 / 0\n"
        f"sys.argv = ['priorlang', 'validate', {str(prior)!r}]\n"
        "cli.main()\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert process.returncode == 2
    assert b"fault of priorlang" in process.stderr


def test_validate_never_waits_for_the_engine(prior: Path) -> None:
    code = (
        "import sys, priorlang, priorlang.cli as cli\n"
        "heavy = {'torch', 'transformers', 'deepspeed', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules) and 'scipy' not in sys.modules and 'numpy' not in sys.modules\n"
        f"sys.argv = ['priorlang', 'validate', {str(prior)!r}]\n"
        "try:\n    cli.main()\nexcept SystemExit as left:\n    assert left.code == 0\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert process.stdout.splitlines()[-1:] == [b"[]"], process.stderr


def test_a_compiled_prior_whose_expectations_fail_says_so(tmp_path: Path) -> None:
    head = "priorlang 1\nmodel { layers = 2 experts = 4 top_k = 1 }\ndefault base 1 weight 0.01\n"
    file = tmp_path / "main.prior"
    file.write_text(head + "expect alpha(0) = 2\nexpect weight = 1\nexpect weight = 0.01\n")
    result = CliRunner().invoke(cli, ["compile", str(file), "-o", str(tmp_path / "table.safetensors")])
    assert result.exit_code == 0
    assert "2 expectations fail; `priorlang validate" in result.stderr


@pytest.mark.parametrize("target", ["other/main.yaml", "other/main.prior"])
def test_converted_imports_lead_to_the_same_files(target: str, tmp_path: Path) -> None:
    head = "priorlang 1\nmodel { layers = 2 experts = 4 top_k = 1 }\ndefault base 1 weight 0.01\n"
    (tmp_path / "base.prior").write_text(head)
    (tmp_path / "main.prior").write_text('priorlang 1\nimport "base.prior"\nrule a: prefer 0 by 1\n')
    (tmp_path / "other").mkdir()
    result = CliRunner().invoke(cli, ["convert", str(tmp_path / "main.prior"), "-o", str(tmp_path / target)])
    assert result.exit_code == 0, result.output
    assert "../base.prior" in (tmp_path / target).read_text()
    assert Prior.read(tmp_path / target).table.header.experts == 4


def test_one_of_a_thing_is_counted_as_one(tmp_path: Path) -> None:
    path = tmp_path / "one.prior"
    path.write_text(HEAD + "rule a: in layers all prefer 0 by 1\n")
    said = run("validate", path).output
    assert "1 rule, " in said
    assert "1 distinct prior\n" in said
    assert "1 prior over 24 layers × " in run("compile", path, "-o", tmp_path / "one.safetensors").output
