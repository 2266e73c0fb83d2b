"""Runs the specification: every source block of the documentation, and of the Markdown beside this file."""

from __future__ import annotations

from pathlib import Path

import pytest

from priorlang.diagnostics.registry import REGISTRY
from priorlang.phases import Given, Prior
from tests.specification.cases import Case, read_cases

ROOT = Path(__file__).parents[2]
CHECKS = sorted((ROOT / "docs" / "checks").glob("*.md"))
DOCUMENTS = [*sorted((ROOT / "docs").glob("*.md")), *CHECKS, *sorted(Path(__file__).parent.glob("*.md"))]
OPINIONS = {entry.name for entry in REGISTRY.values() if entry.heuristic} - {"unknown-by-negation"}
CASES = [case for document in DOCUMENTS for case in read_cases(document)]


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_case(case: Case, tmp_path: Path) -> None:
    for name, source in {**case.files, case.file: case.source}.items():
        (tmp_path / name).write_text(source, encoding="utf-8")
    prior = Prior.read(tmp_path / case.file, evidence=Given(case.shares, case.batch_tokens))
    found = [
        (finding.span.start.line, finding.severity.value, finding.name, finding.message)
        for finding in prior.findings
        # A fragment need not use all that stands before it.
        if not (case.is_fragment and finding.name == "unused-name" and finding.span.start.line == 1)
        and not _is_beside_the_point(finding.name, case)
    ]
    expected = [(item.line, item.severity, item.name) for item in case.expected]
    assert sorted(item[:3] for item in found) == sorted(expected), found
    for item in case.expected:
        messages = [message for line, _, name, message in found if (line, name) == (item.line, item.name)]
        assert any(item.text in message for message in messages), (item, messages)
    for line in case.cells:
        _check_cell(prior, line)


def _is_beside_the_point(name: str, case: Case) -> bool:
    """Opinions about a prior's sense: examples of the language mean to be short, not to be good priors."""
    if case.about_checks or any(item.name == name for item in case.expected):
        return False
    return name in OPINIONS


def _check_cell(prior: Prior, line: str) -> None:
    """`layer=5 modality=vision: alpha 1.25 …, weight 0.01`, or `…: unshaped`."""
    where, _, wanted = line.partition(":")
    words = dict(word.split("=") for word in where.split())
    layer = int(words.pop("layer"))
    alpha = prior.table.alpha_of(layer=layer, **words)
    if wanted.strip() == "unshaped":
        assert alpha is None, line
        return
    assert alpha is not None, line
    for part in wanted.split(","):
        kind, *numbers = part.split()
        values = [float(number) for number in numbers]
        if kind == "alpha":
            assert alpha.tolist() == pytest.approx(values, abs=1e-12), line
        else:
            assert prior.table.weight_of(layer=layer, **words) == pytest.approx(values[0], abs=1e-15), line


def test_specification_is_not_empty() -> None:
    """A broken reader would otherwise pass by finding nothing."""
    assert len(CASES) > 60
    assert sum(bool(case.expected) for case in CASES) > 30
    assert sum(bool(case.cells) for case in CASES) > 10
