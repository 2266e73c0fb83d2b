"""Definitions and references, across files."""

from __future__ import annotations

from pathlib import Path

import pytest

from priorlang.editor.names import definitions, references
from priorlang.editor.workspace import Workspace
from tests.priorlang.editor.cursor import FOLDER, HEAD, YAML_HEAD, opened


@pytest.mark.parametrize(
    ("text", "declared"),
    [
        ("rule x overrides vi¦sion: prefer 0 by 1", "rule vision"),
        ("rule x: for modality vi¦sion prefer 0 by 1", "{ vision"),
        ("rule x: for modality vision¦ prefer 0 by 1", "{ vision"),
        ("rule x: for ¦task ocr prefer 0 by 1", "attribute task"),
        ("rule x: in layers ¦late prefer 0 by 1", "layers late"),
        ("rule x: prefer vis¦ual by 1", "experts visual"),
        ("rule x: prefer 0 by $bo¦ost", "param boost"),
        ("rule x: base ramp 0 to $¦boost over layers all", "param boost"),
        ("expect share(¦visual) > 1", "experts visual"),
        ('rule x: for task "with¦ space', None),
        ("rule x: for modality vi¦sion prefer", "{ vision"),
        ("rule x: pre¦fer 0 by 1", None),
        ("rule x: prefer nothing¦ by 1", None),
    ],
)
def test_definition(text: str, declared: str | None) -> None:
    workspace, path, place = opened(HEAD + text)
    found = definitions(workspace, path, place)
    if declared is None:
        assert found == []
        return
    (span,) = found
    lines = workspace.lines(path)
    name = lines.within(span)
    assert lines.line(span.start.line)[: span.end.column - 1].endswith(declared)
    assert declared.endswith(name)


def test_definition_in_an_imported_file_of_the_other_form() -> None:
    text = 'priorlang 1\nimport "base.yaml"\nrule x: for task read¦ing prefer 0 by $boost'
    workspace, path, place = opened(text, base_yaml=YAML_HEAD)
    (span,) = definitions(workspace, path, place)
    assert span.file == f"{FOLDER}/base.yaml"
    assert workspace.lines(span.file).within(span) == "reading"


def test_definition_of_an_import_is_the_file(tmp_path: Path) -> None:
    (tmp_path / "base.prior").write_text(HEAD, encoding="utf-8")
    workspace, path = Workspace(), str(tmp_path / "main.prior")
    workspace.put(path, 'priorlang 1\nimport "base.prior"')
    (span,) = definitions(workspace, path, workspace.lines(path).position(22))
    assert span.file == str(tmp_path / "base.prior")


def test_a_restated_parameter_has_two_declarations() -> None:
    text = 'priorlang 1\nimport "base.prior"\nparam boost = 1\nrule x: prefer 0 by $¦boost'
    workspace, path, place = opened(text, base_prior=HEAD)
    assert [span.file for span in definitions(workspace, path, place)] == [f"{FOLDER}/base.prior", path]


def test_references_in_open_files_that_stand_on_this_one() -> None:
    importer = 'priorlang 1\nimport "main.prior"\nrule x: prefer visual by 1\n'
    other = "priorlang 1\nexperts visual = 0\nrule x: prefer visual by 1\n"
    text = HEAD.replace("experts visual", "experts vis¦ual")
    workspace, path, place = opened(text, importer_prior=importer, other_prior=other)
    found = [item.span.file.rpartition("/")[2] for item in references(workspace, path, place)]
    assert found == ["main.prior", "main.prior", "importer.prior"]
    uses = references(workspace, path, place, with_declaration=False)
    assert [item.declares for item in uses] == [False, False]


def test_members_of_two_attributes_are_two_things() -> None:
    text = HEAD + "attribute other { ocr }\nrule x: for task ocr and other o¦cr prefer 0 by 1\n"
    workspace, path, place = opened(text)
    assert {item.symbol.owner for item in references(workspace, path, place)} == {"other"}


def test_the_editor_knows_better_than_the_disk(tmp_path: Path) -> None:
    (tmp_path / "base.prior").write_text("priorlang 1\n", encoding="utf-8")
    workspace, path = Workspace(), str(tmp_path / "main.prior")
    workspace.put(path, 'priorlang 1\nimport "base.prior"\nrule x: prefer visual by 1')
    place = workspace.lines(path).position(50)
    assert definitions(workspace, path, place) == []
    workspace.put(str(tmp_path / "base.prior"), HEAD)
    assert len(definitions(workspace, path, place)) == 1
    workspace.remove(str(tmp_path / "base.prior"))
    assert definitions(workspace, path, place) == []
