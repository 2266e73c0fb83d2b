"""Files that stand on files: each read once, however it is reached, and every way to get it wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from prior_programs import HEAD

from priorlang.phases import Prior

RULE = "rule a: for modality vision prefer 0 by 1\n"


def errors(path: Path) -> list[tuple[str, str]]:
    return [(f.name, Path(f.span.file).name) for f in Prior.read(path).findings if f.severity == "error"]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.prior"
    path.write_text(HEAD + RULE)
    return path


def test_a_diamond_is_read_once(tmp_path: Path, base: Path) -> None:
    for name in ("left", "right"):
        (tmp_path / f"{name}.prior").write_text(
            f'priorlang 1\nimport "base.prior"\nrule {name}: in layers 3 prefer 1 by 1\n'
        )
    top = tmp_path / "top.yaml"
    top.write_text(
        "priorlang: 1\nimport: [left.prior, right.prior, ./base.prior]\nrule: {t: {prefer: {2: 1}}}\n"
    )
    assert errors(top) == []
    assert [rule.name for rule in Prior.read(top).spec.rules] == ["a", "left", "right", "t"]


@pytest.mark.parametrize("form", ["prior", "yaml"])
@pytest.mark.parametrize("absolute", [True, False])
def test_either_form_imports_either(tmp_path: Path, base: Path, form: str, absolute: bool) -> None:
    if form == "yaml":
        (tmp_path / "base.yaml").write_text(
            "priorlang: 1\nmodel: {layers: 24, experts: 8, top_k: 2}\nattribute: {modality: [vision, language]}\n"
            "default: {base: 0.75, weight: 0.01}\nrule: {a: {for: {modality: vision}, prefer: {0: 1}}}\n"
        )
    name = f"base.{form}"
    top = tmp_path / "sub" / "top.prior"
    top.parent.mkdir()
    target = tmp_path / name if absolute else Path("..", name)
    top.write_text(f'priorlang 1\nimport "{target}"\nrule b: for modality vision prefer 1 by 1\n')
    assert errors(top) == []
    alpha = Prior.read(top).table.alpha_of(layer=0, modality="vision")
    assert alpha is not None
    assert alpha.tolist()[:3] == [1.75, 1.75, 0.75]


def test_a_circle_is_found_through_links(tmp_path: Path) -> None:
    (tmp_path / "a.prior").write_text(HEAD + 'import "b.prior"\n')
    (tmp_path / "b.prior").write_text('priorlang 1\nimport "link.prior"\n')
    os.symlink(tmp_path / "a.prior", tmp_path / "link.prior")
    assert errors(tmp_path / "a.prior") == [("import-cycle", "b.prior")]
    (finding,) = [f for f in Prior.read(tmp_path / "a.prior").findings if f.name == "import-cycle"]
    assert [Path(related.span.file).name for related in finding.related] == ["a.prior"]


def test_a_link_is_the_file_it_leads_to(tmp_path: Path, base: Path) -> None:
    os.symlink(base, tmp_path / "link.prior")
    (tmp_path / "top.prior").write_text('priorlang 1\nimport "base.prior"\nimport "link.prior"\n')
    assert errors(tmp_path / "top.prior") == []


def test_up_from_a_link_is_up_from_where_it_leads(tmp_path: Path, base: Path) -> None:
    (tmp_path / "deep" / "folder").mkdir(parents=True)
    (tmp_path / "deep" / "base.prior").write_text(HEAD.replace("0.75", "3") + RULE)
    os.symlink(tmp_path / "deep" / "folder", tmp_path / "link")
    (tmp_path / "top.prior").write_text('priorlang 1\nimport "link/../base.prior"\nexpect alpha(7) = 3\n')
    assert errors(tmp_path / "top.prior") == []


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("", "missing-file"),
        (".", "unreadable-file"),
        ("nowhere.prior", "missing-file"),
        ("nowhere/base.prior", "missing-file"),
        ("x" * 5000, "unreadable-file"),
        ("binary.prior", "unreadable-file"),
        ("base.prior/more.prior", "unreadable-file"),
    ],
)
def test_what_cannot_be_imported_is_a_finding_at_the_import(
    tmp_path: Path, base: Path, written: str, name: str
) -> None:
    (tmp_path / "binary.prior").write_bytes(b"\xff\xfe\x00")
    for file, text in (
        ("top.prior", HEAD + f'import "{written}"\n'),
        ("top.yaml", f'priorlang: 1\nimport: ["{written}"]\nmodel: {{layers: 2, experts: 2, top_k: 1}}\n'),
    ):
        (tmp_path / file).write_text(text)
        found = errors(tmp_path / file)
        assert (name, file) in found or ("syntax-error", file) in found
        assert len([entry for entry in found if entry[0] != "missing-default"]) == 1


def test_many_files_are_bounded(tmp_path: Path) -> None:
    for number in range(150):
        (tmp_path / f"{number}.prior").write_text(f'priorlang 1\nimport "{number + 1}.prior"\n')
    (tmp_path / "150.prior").write_text("priorlang 1\n")
    assert [name for name, _ in errors(tmp_path / "0.prior") if name == "import-cycle"] == ["import-cycle"]
