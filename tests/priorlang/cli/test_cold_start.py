"""What `priorlang validate FILE` loads: people and hooks run it all day."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from prior_programs import HEAD

SPARED = (
    "torch",
    "transformers",
    "deepspeed",
    "matplotlib",
    "scipy",
    "lark",
    "click",
    "pydantic",
    "importlib.metadata",
)


@pytest.mark.parametrize("name", ["a.prior", "a.yaml"])
def test_it_loads_no_library_that_it_does_not_need(name: str, tmp_path: Path) -> None:
    from priorlang.syntax import SourceFile
    from priorlang.syntax.reformat import rewritten

    file = tmp_path / name
    text = HEAD + "experts visual = 0..3\nrule a: for modality vision prefer visual by 0.5\n"
    file.write_text(rewritten(SourceFile("a.prior", text), name), encoding="utf-8")
    code = (
        "import sys, priorlang.cli as cli\n"
        "assert 'numpy' not in sys.modules\n"
        f"sys.argv = ['priorlang', 'validate', {str(file)!r}]\n"
        "try:\n    cli.main()\nexcept SystemExit as left:\n    assert left.code == 0\n"
        f"print(sorted({set(SPARED)!r} & set(sys.modules)))\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert process.stdout.splitlines()[-1:] == [b"[]"], process.stderr


def test_options_are_read_where_there_are_some(tmp_path: Path) -> None:
    file = tmp_path / "a.prior"
    file.write_text(HEAD, encoding="utf-8")
    for arguments in (["--quiet", file], [file, "--quiet"]):
        command = [sys.executable, "-m", "priorlang", "validate", *map(str, arguments)]
        process = subprocess.run(command, capture_output=True, check=False, timeout=60)
        assert (process.returncode, process.stderr) == (0, b"")
    for arguments in (["validate"], ["validate", "--nonsense"]):
        command = [sys.executable, "-m", "priorlang", *arguments]
        process = subprocess.run(command, capture_output=True, check=False, timeout=60)
        assert process.returncode == 2
        assert b"Usage" in process.stderr
