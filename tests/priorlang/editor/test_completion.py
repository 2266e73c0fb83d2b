"""Completion, at every kind of place of both forms, in texts that do not parse."""

from __future__ import annotations

from pathlib import Path

import pytest

from priorlang.editor.completion import complete
from priorlang.editor.workspace import Workspace
from priorlang.syntax.keywords import STATEMENT_KEYWORDS
from tests.priorlang.editor.cursor import HEAD, YAML_HEAD, opened

TASKS = ["caption", "reading", "ocr", '"with space"', "unknown"]
CLAUSES = ["avoid", "base", "prefer", "split", "unshaped", "weight"]
KEYS = [
    "overrides: ",
    "for: ",
    "layers: ",
    "base: ",
    "prefer: ",
    "avoid: ",
    "weight: ",
    "split: ",
    "unshaped: ",
]
OPINIONS = {"weak-preference", "load-imbalance"}


def offered(text: str, name: str = "main.prior", **others: str) -> list[str]:
    return [item.text for item in complete(*opened(text, name, **others))]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("rule x¦", []),
        ("rule x ¦", ["overrides"]),
        ("rule x overrides ¦", ["vision", "all"]),
        ("rule x overrides vision, ¦", ["vision"]),
        ("rule x: ¦", sorted([*CLAUSES, "for", "in"])),
        ("rule x: for ¦", ["modality", "task"]),
        ("rule x: for ta¦", ["modality", "task"]),
        ("rule x: for task ¦", [*TASKS, "all", "not"]),
        ("rule x: for task not ocr | ¦", [*TASKS, "all"]),
        ("rule x: for task ocr ¦", sorted([*CLAUSES, "and", "in"])),
        ("rule x: for task ocr and ¦", ["modality", "task"]),
        ("rule x: for task ocr in ¦", ["layers"]),
        ("rule x: in layers ¦", ["late", "$boost", "all", "not"]),
        ("rule x: prefer ¦", ["visual", "$boost", "all", "not"]),
        ("rule x: prefer visual by ¦", ["$boost", "ramp"]),
        ("rule x: prefer visual by $b¦", ["$boost", "ramp"]),
        ("rule x: base ramp 0 to 1 over ¦", ["layers"]),
        ("rule x: base 1 share 0.5 to ¦", ["visual", "$boost", "all", "not"]),
        ("rule x: base (1, ¦", ["$boost"]),
        ("rule x: split by ¦", ["modality", "task"]),
        ("experts other = ¦", ["visual", "$boost", "all", "not"]),
        ("experts other ¦", []),
        ("param other = ¦", ["$boost", "ramp"]),
        ("model { ¦ }", ["layers", "experts", "top_k", "routed"]),
        ("expect ¦", ["share", "load", "alpha", "weight", "$boost", "unshaped"]),
        ("expect share(¦", ["visual", "$boost", "all", "not"]),
        ("expect share(visual) > 0.5 for ¦", ["modality", "task"]),
        ("allow load-imbalance ¦", ["because", "in"]),
        ("allow load-imbalance in ¦", ["vision"]),
        ("# rule x: for ¦", []),
        # A mistake before the cursor costs nothing but itself.
        ("rule x: for modality vision prefer visual 0.5 avoid ¦", ["visual", "$boost", "all", "not"]),
        ("rule x: @ for ¦", ["modality", "task"]),
    ],
)
def test_in_the_dsl(typed: str, expected: list[str]) -> None:
    assert offered(HEAD + typed) == expected
    assert offered(f"{HEAD}{typed}\nexpect unshaped in layers 3\n") == expected


def test_statements_begin_where_one_may_end() -> None:
    assert set(STATEMENT_KEYWORDS) <= set(offered(HEAD + "¦"))
    assert "priorlang 1\n" in offered("¦")
    assert "priorlang 1\n" not in offered(HEAD + "¦")


def test_only_opinions_can_be_allowed() -> None:
    found = set(offered(HEAD + "allow ¦"))
    assert found >= OPINIONS
    assert "conflict" not in found


def test_inside_quotes_names_come_with_both() -> None:
    workspace, path, place = opened(HEAD + 'rule x: for task "wi¦"')
    found = {item.label: item for item in complete(workspace, path, place)}
    item = found['"with space"']
    assert item.text == '"with space"'
    assert (item.span.start.column, item.span.end.column) == (18, 22)


def test_names_of_imported_files() -> None:
    text = 'priorlang 1\nimport "base.prior"\nrule x: for task ¦'
    assert offered(text, base_prior=HEAD) == [*TASKS, "all", "not"]


def test_what_is_declared_behind_a_broken_statement() -> None:
    assert "extra" in offered(HEAD + "attribute extra { a, b\nrule x: for ¦")


def test_files_to_import(tmp_path: Path) -> None:
    for name in ("a.prior", "b.yaml", "c.txt", "main.prior"):
        (tmp_path / name).write_text("priorlang 1\n", encoding="utf-8")
    workspace = Workspace()
    path = str(tmp_path / "main.prior")
    workspace.put(path, 'priorlang 1\nimport "')
    found = complete(workspace, path, workspace.lines(path).position(20))
    assert [item.text for item in found] == ['"a.prior"', '"b.yaml"']


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("  x:\n    ¦", KEYS),
        ("  x:\n    pr¦", KEYS),
        ("  x:\n    weight: 1\n    pr¦", [key for key in KEYS if key != "weight: "]),
        ("  x:\n    pr¦: {visual: 1}", [key.strip(": ") for key in KEYS]),
        ("  x:\n    for: {¦", ["modality: ", "task: "]),
        ("  x:\n    for:\n      ¦", ["modality: ", "task: "]),
        (
            "  x:\n    for: {task: ¦}",
            ["caption", "reading", "ocr", "'\"with space\"'", "unknown", "all", "not"],
        ),
        ("  x:\n    for: {task: ocr | ¦", [*TASKS, "all"]),
        ("  x:\n    for: {task: '¦'}", [*TASKS, "all", "not"]),
        ("  x:\n    layers: ¦", ["late", "$boost", "all", "not"]),
        ("  x:\n    prefer: {¦", ["visual", "$boost", "all", "not"]),
        ("  x:\n    prefer:\n      vi¦", ["visual", "$boost", "all", "not"]),
        ("  x:\n    prefer: {visual: $b¦", ["$boost", "ramp"]),
        ("  x:\n    overrides: [¦", ["all", "vision"]),
        ("  x:\n    split: [¦", ["modality", "task"]),
        ("  x:\n    base: {¦", ["value: ", "share: "]),
        ("  x:\n    base: {value: 1, share: {¦", ["visual", "$boost", "all", "not"]),
        ("  x:\n    weight: ramp 0 to 1 over layers ¦", ["late", "$boost", "all", "not"]),
        ("  x:\n    unshaped: ¦", ["true"]),
        ("expect:\n  - ¦", ["share", "load", "alpha", "weight", "$boost", "unshaped"]),
        ("expect:\n  - share(visual) > 0.1 for ¦", ["modality", "task"]),
        ("allow:\n  - {¦", ["finding: ", "in: ", "because: "]),
        ("allow:\n  - {finding: load-imbalance, in: [¦", ["vision"]),
        ("sch¦", ["import: ", "schedule: ", "expect: ", "allow: "]),
        ("# sch¦", []),
        ("allow:\n  - {finding: load-imbalance, because: ¦", []),
    ],
)
def test_in_yaml(typed: str, expected: list[str]) -> None:
    assert offered(YAML_HEAD + typed, "main.yaml") == expected


def test_yaml_that_is_broken_elsewhere_too() -> None:
    text = YAML_HEAD.replace("[vision, language]", "[vision, language") + "  x:\n    layers: ¦"
    assert "late" in offered(text, "main.yaml")
