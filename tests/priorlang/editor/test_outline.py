"""The outline of a file, and what of a broken one is left."""

from __future__ import annotations

from priorlang.editor.outline import outline
from priorlang.syntax import SourceFile
from tests.priorlang.editor.cursor import HEAD, YAML_HEAD


def test_both_forms() -> None:
    for name, text in (("x.prior", HEAD), ("x.yaml", YAML_HEAD)):
        entries = outline(SourceFile(name, text))
        assert [entry.name for entry in entries] == [
            "model",
            "modality",
            "task",
            "visual",
            "late",
            "$boost",
            "default",
            "vision",
        ]
        task = next(entry for entry in entries if entry.name == "task")
        assert [child.name for child in task.children] == ["caption", "reading", "unknown"]
        assert [child.name for child in task.children[1].children] == ["ocr", "with space"]
        assert entries[-1].detail == "for modality vision"


def test_names_lie_within_their_statements() -> None:
    for entry in outline(SourceFile("x.prior", HEAD)):
        assert entry.span.start <= entry.name_span.start
        assert entry.name_span.end <= entry.span.end


def test_a_broken_statement_hides_no_other() -> None:
    names = [
        entry.name for entry in outline(SourceFile("x.prior", HEAD + "rule bad: prefer\nrule good: unshaped"))
    ]
    assert "good" in names
    assert "bad" not in names
