"""The hooks that .pre-commit-hooks.yaml offers: they take every file whose ending fits, and touch priors alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from prior_programs import HEAD, YAML_HEAD

from priorlang.cli.commands import cli

HOOKS = yaml.safe_load((Path(__file__).parents[3] / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_passes_over_what_is_no_prior(hook: dict[str, str], tmp_path: Path) -> None:
    texts = {
        "a.prior": HEAD + "rule a: for task orc prefer 0 by 1\n",
        "b.yaml": YAML_HEAD + "rule: {a: {for: {task: orc}, prefer: {0: 1}}}\n",
        "other.yml": "- name:   CI\n",
        "huge.yaml": "a: [" + "1, " * 500_000 + "1]\n",
        "bytes.yaml": "a: \udcff\n",
        "notes.md": "# no prior\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    taken = [str(tmp_path / name) for name in texts if re.search(hook["files"], name)]
    assert len(taken) == 5
    program, *words = hook["entry"].split()
    assert program == "priorlang"
    result = CliRunner().invoke(cli, [*words, *taken])
    assert not isinstance(result.exception, Exception), result.output
    for name in ("other", "huge", "bytes"):
        assert f"{name}.y" not in result.output
    assert "a.prior" in result.output
    assert "b.yaml" in result.output
    assert (tmp_path / "other.yml").read_text() == texts["other.yml"]
