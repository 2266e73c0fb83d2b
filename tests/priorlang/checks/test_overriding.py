"""Findings about rules that silence each other, each with the cell that proves it."""

from __future__ import annotations

from prior_programs import HEAD, findings_of

from priorlang.diagnostics.finding import Finding


def rules_of(text: str) -> list[Finding]:
    """Findings about rules as such."""
    return [finding for finding in findings_of(text) if finding.code < "PL309"]


def rule_findings(text: str) -> list[tuple[str, str, dict[str, int | str]]]:
    return [(f.name, f.message.split("`")[1], dict(f.witness or {})) for f in rules_of(HEAD + text)]


def test_a_circle_is_reported_once_where_both_match() -> None:
    found = rule_findings(
        "rule a overrides b: for modality vision in layers 3.. prefer 0 by 1\n"
        "rule b overrides a: for task ocr in layers ..7 prefer 1 by 1\n"
    )
    assert found == [("override-cycle", "a", {"layer": 3, "modality": "vision", "task": "ocr"})]


def test_two_that_override_all_are_a_circle() -> None:
    text = "rule a overrides all: for modality vision prefer 0 by 1\nrule b overrides all: for task ocr prefer 1 by 1\n"
    assert [entry[:2] for entry in rule_findings(text)] == [("override-cycle", "a")]


def test_overriding_what_is_never_met_is_in_vain() -> None:
    text = (
        "rule a overrides b: for modality vision in layers 3 prefer 0 by 1\n"
        "rule b: for modality vision and task ocr in layers 4 prefer 1 by 1\n"
    )
    assert [entry[:2] for entry in rule_findings(text)] == [("override-no-overlap", "a")]


def test_a_rule_that_two_others_cover_is_shadowed() -> None:
    (finding,) = rules_of(
        HEAD
        + "rule low: for task ocr prefer 0 by 1\n"
        + "rule eyes overrides low: for modality vision prefer 1 by 1\n"
        + "rule words overrides low: for modality language prefer 2 by 1\n"
    )
    assert finding.name == "shadowed-rule"
    assert [related.message for related in finding.related] == ["`eyes` overrides it", "`words` overrides it"]
    assert finding.witness == {"layer": 0, "modality": "vision", "task": "ocr"}


def test_a_broken_statement_makes_nothing_unused() -> None:
    found = findings_of(
        HEAD + "param boost = 1\nexperts visual = 0..3\nrule a: for task ocr prefer visual $boost\n"
    )
    assert [finding.name for finding in found] == ["syntax-error"]
