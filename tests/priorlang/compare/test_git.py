"""git itself, in a repository of its own: the diff driver, the textconv and the difftool of docs/diff.md."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from priorlang.cli.commands import cli

PRIORLANG = f"{shlex.quote(sys.executable)} -m priorlang"
BASE = "priorlang 1\nmodel { layers = 4  experts = 2  top_k = 1 }\ndefault base 1 weight 0.1\n"
TOP = 'priorlang 1\nimport "base.prior"\nrule a: prefer 0 by 1\n'


class Repository:
    """A scratch repository with a prior that imports another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "--quiet", ".")
        self.write(".gitattributes", "*.prior diff=prior\n")
        self.write("sub/base.prior", BASE)
        self.write("sub/top.prior", TOP)
        self.git("add", "-A")
        self.git("-c", "user.name=n", "-c", "user.email=e", "commit", "--quiet", "-m", "first")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def git(self, *words: str, exits: int = 0) -> str:
        environment = {
            **os.environ,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_PAGER": "cat",
        }
        done = subprocess.run(
            ["git", *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == exits, done.stderr
        return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_the_driver_shows_meaning_wherever_a_file_comes_from(repository: Repository) -> None:
    repository.git("config", "diff.prior.command", f"{PRIORLANG} diff --git")
    repository.write("sub/top.prior", TOP.replace("by 1", "by 2") + "# a remark\n")
    shown = repository.git("diff")
    assert shown.startswith("prior sub/top.prior\n~ rule a: prefer 0 by 1\n      → prefer 0 by 2\n")
    assert "experts 0: α 2 → 3" in shown
    repository.write("sub/top.prior", TOP.replace("rule a: prefer", "# only the layout\nrule a:  prefer"))
    assert repository.git("diff") == "prior sub/top.prior\nthe priors ask for the same\n\n"
    repository.write("sub/top.prior", TOP + "rule b:\n")
    broken = repository.git("diff")
    assert "cannot be compared by meaning" in broken
    assert "+rule b:" in broken


def test_the_driver_knows_new_lost_and_moved_files(repository: Repository) -> None:
    repository.git("config", "diff.prior.command", f"{PRIORLANG} diff --git")
    repository.write("new.prior", BASE)
    repository.git("add", "new.prior")
    repository.git("mv", "sub/top.prior", "sub/moved.prior")
    repository.write("sub/moved.prior", TOP.replace("by 1", "by 2"))
    shown = repository.git("diff", "-M40", "HEAD")
    assert "prior new.prior\nmodel layers: (none) → 4" in shown
    assert "prior sub/top.prior → sub/moved.prior\n~ rule a" in shown
    repository.git("reset", "--quiet", "--hard")
    repository.git("rm", "--quiet", "--cached", "sub/top.prior")
    assert "- rule a: prefer 0 by 1" in repository.git("diff", "--cached")


def test_the_textconv_compares_canonical_text(repository: Repository) -> None:
    plain = f'f() {{ {PRIORLANG} fmt --stdout "$1" 2>/dev/null || cat "$1"; }}; f'
    repository.git("config", "diff.prior.textconv", plain)
    repository.write("sub/top.prior", TOP.replace("rule a: prefer", "rule   a:\n  prefer"))
    assert repository.git("diff") == ""
    repository.write("sub/top.prior", TOP.replace("by 1", "by 2") + "rule b:\n")
    assert "+rule b:" in repository.git("diff")


def test_the_difftool_compares_one_file_after_another(repository: Repository) -> None:
    repository.git(
        "config", "difftool.prior.cmd", f'{PRIORLANG} diff --git "$MERGED" "$LOCAL" . . "$REMOTE" . .'
    )
    repository.write("sub/top.prior", TOP.replace("by 1", "by 2"))
    assert "~ rule a: prefer 0 by 1" in repository.git("difftool", "--no-prompt", "--tool=prior")


def test_exit_codes_are_for_gits_that_trust_them(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository.folder)
    repository.write("new.prior", TOP.replace("by 1", "by 2"))
    words = ["diff", "--git", "sub/top.prior", "sub/top.prior", ".", ".", "new.prior", ".", "."]
    same = [*words[:6], "sub/top.prior", ".", "."]
    assert [CliRunner().invoke(cli, case).exit_code for case in (words, same)] == [0, 0]
    assert [CliRunner().invoke(cli, [*case, "--exit-code"]).exit_code for case in (words, same)] == [1, 0]
    unmerged = CliRunner().invoke(cli, ["diff", "--git", "sub/top.prior"])
    assert (unmerged.exit_code, unmerged.output) == (0, "prior sub/top.prior: not merged yet\n")
    assert CliRunner().invoke(cli, ["diff", "--git", "a", "b"]).exit_code == 2
