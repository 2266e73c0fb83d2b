"""What people read, word for word. `PRIORLANG_GOLDEN=write pytest tests/priorlang/cli/test_golden.py` renews it."""

from __future__ import annotations

import os

import pytest
from click.testing import CliRunner
from prior_programs import FILES

from priorlang.cli.commands import cli

GOLDEN = FILES / "golden"
CASES = {
    "validate-conflict": ["validate", "conflict.prior"],
    "validate-mistakes": ["validate", "mistakes.prior"],
    "validate-mistakes-yaml": ["validate", "mistakes.yaml"],
    "validate-clean": ["validate", "before.prior"],
    "explain-overridden": ["explain", "before.prior", "--at", "modality=vision task=ocr layer=5"],
    "explain-why-not": [
        "explain",
        "before.prior",
        "--at",
        "modality=vision layer=12",
        "--why-not",
        "reading",
    ],
    "explain-unshaped": ["explain", "before.prior", "--at", "modality=language layer=23"],
    "explain-no-such-cell": ["explain", "before.prior", "--at", "modality=visoin layer=5"],
    "diff": ["diff", "before.prior", "after.prior"],
    "diff-markdown": ["diff", "before.prior", "after.prior", "--format", "markdown"],
    "diff-same": ["diff", "before.prior", "before.prior"],
    "diff-broken": ["diff", "before.prior", "conflict.prior"],
    "help": ["help", "PL301"],
}


@pytest.mark.parametrize("name", CASES)
def test_the_words(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    result = CliRunner().invoke(cli, CASES[name])
    assert not isinstance(result.exception, Exception)
    text = f"$ priorlang {' '.join(CASES[name])}\n{result.output}exit {result.exit_code}\n"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("PRIORLANG_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text
