"""Renaming changes every use and nothing else, or refuses and says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from priorlang.editor.edits import applied
from priorlang.editor.rename import RefusedError, rename
from priorlang.editor.workspace import Workspace
from priorlang.phases import Prior
from priorlang.syntax import SourceFile
from tests.priorlang.editor.cursor import FOLDER, HEAD, YAML_HEAD, opened


def renamed(text: str, new: str, name: str = "main.prior", **others: str) -> dict[str, str]:
    workspace, path, place = opened(text, name, **others)
    return {
        file.removeprefix(f"{FOLDER}/"): applied(workspace.source(file).text, edits)
        for file, edits in rename(workspace, path, place, new).items()
    }


@pytest.mark.parametrize(
    ("before", "cursor", "new", "after"),
    [
        ("visual", "vis¦ual", "seeing", "seeing"),
        ("visual", "vis¦ual", "two words", '"two words"'),
        ("visual", "vis¦ual", '"two words"', '"two words"'),
        ("visual", "vis¦ual", "prefer", '"prefer"'),
        ("boost", "bo¦ost", "$push", "push"),
        ("boost", "$bo¦ost", "push", "push"),
        ("modality", "moda¦lity", "kind", "kind"),
        ("late", "la¦te", "last/third", "last/third"),
    ],
)
def test_in_one_file(before: str, cursor: str, new: str, after: str) -> None:
    plain = HEAD + "rule x: for modality vision in layers late prefer visual by $boost\n"
    (found,) = renamed(plain.replace(cursor.replace("¦", ""), cursor, 1), new).values()
    assert found == plain.replace(before, after)
    assert Prior(SourceFile("x.prior", found)).findings == Prior(SourceFile("x.prior", plain)).findings


def test_in_the_yaml_form() -> None:
    text = (
        YAML_HEAD
        + "  x: {overrides: [vision], for: {task: 'not \"with space\" | ocr'}, prefer: {visual: 1}}\n"
    )
    assert renamed(text.replace("ocr'", "o¦cr'"), "text", "main.yaml") == {
        "main.yaml": text.replace("ocr", "text")
    }
    (found,) = renamed(text.replace("{visual: 0", "{vis¦ual: 0"), "two words", "main.yaml").values()
    assert found == text.replace("{visual: 0", "{two words: 0").replace("{visual:", "{'\"two words\"':")
    assert renamed(text.replace("[vision]", "[vi¦sion]"), "all", "main.yaml")["main.yaml"].count('"all"') == 2


def test_across_files_that_are_open_and_files_on_disk(tmp_path: Path) -> None:
    (tmp_path / "base.prior").write_text(HEAD, encoding="utf-8")
    importer = 'priorlang 1\nimport "base.prior"\nrule x: prefer visual by 1\n'
    (tmp_path / "closed.prior").write_text(importer, encoding="utf-8")
    (tmp_path / "stranger.prior").write_text(HEAD, encoding="utf-8")
    workspace, path = Workspace(), str(tmp_path / "open.prior")
    workspace.put(path, importer)
    found = rename(workspace, path, workspace.lines(path).position(50), "seeing")
    assert {Path(file).name: len(edits) for file, edits in found.items()} == {
        "base.prior": 2,
        "open.prior": 1,
        "closed.prior": 1,
    }


@pytest.mark.parametrize(
    ("text", "new", "reason"),
    [
        ("rule vi¦sion:", "", "at least one character"),
        ("rule vi¦sion:", 'a"b', "no quotes"),
        ("rule vi¦sion:", "vision", "called `vision` already"),
        ("ru¦le vision:", "x", "can be renamed"),
        ("by $bo¦ost", "1st", "takes letters"),
        ("by $bo¦ost", "two words", "takes letters"),
        ("for mo¦dality vision", "task", "there is a attribute `task` already"),
        ("for mo¦dality vision", "layer", "decoder layer"),
    ],
)
def test_refusals(text: str, new: str, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        renamed(HEAD.replace(text.replace("¦", ""), text, 1), new)


def test_a_name_that_an_importer_has_is_taken() -> None:
    importer = 'priorlang 1\nimport "main.prior"\nrule art: prefer 0 by 1\n'
    with pytest.raises(RefusedError, match=r"importer.prior:3"):
        renamed(HEAD.replace("rule vision", "rule vis¦ion"), "art", importer_prior=importer)


def test_a_broken_file_is_mended_first() -> None:
    with pytest.raises(RefusedError, match="mend it first"):
        renamed(HEAD.replace("rule vision", "rule vis¦ion") + "rule x: prefer", "see")


def test_what_nothing_declares_has_no_other_name() -> None:
    with pytest.raises(RefusedError, match="nothing declares"):
        renamed(HEAD + "rule x: prefer visu¦ by 1", "y")
