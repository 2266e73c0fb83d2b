"""Writing files whole, and not at all where they are to stay as they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from prior_programs import HEAD

from priorlang.cli.commands import cli
from priorlang.diagnostics.finding import PriorError
from priorlang.files import write_whole


def test_a_file_keeps_its_permissions_and_a_link_stays_one(tmp_path: Path) -> None:
    file, link = tmp_path / "a", tmp_path / "b"
    file.write_bytes(b"old")
    file.chmod(0o640)
    link.symlink_to(file)
    write_whole(link, b"new")
    assert file.read_bytes() == b"new"
    assert file.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("kind", ["read-only", "folder", "regular file"])
def test_what_is_to_stay_stays(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "a"
    if kind == "folder":
        place.mkdir()
    elif kind == "regular file":
        os.mkfifo(place)
    else:
        place.write_bytes(b"old")
        place.chmod(0o444)
    before = place.stat()
    with pytest.raises(PriorError, match=kind):
        write_whole(place, b"new")
    assert place.stat() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("command", [["fmt"], ["convert", "-o"], ["validate", "--fix"]])
def test_commands_leave_a_read_only_file_alone(command: list[str], tmp_path: Path) -> None:
    text = HEAD + "attribute  kind { a }\nrule  r: for modality visoin prefer 0 by 1\n"
    source, target = tmp_path / "a.prior", tmp_path / "b.yaml"
    source.write_text(text if command[0] in {"fmt", "validate"} else HEAD, encoding="utf-8")
    target.write_text("mine", encoding="utf-8")
    source.chmod(0o444)
    target.chmod(0o444)
    before = source.read_bytes()
    arguments = [*command, str(target), str(source)] if "-o" in command else [*command, str(source)]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2, result.output
    assert "cannot be written: it is read-only" in result.output
    assert (source.read_bytes(), target.read_text(encoding="utf-8")) == (before, "mine")
