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


def test_a_longer_circle_is_named_whole_where_all_match() -> None:
    (finding,) = [
        finding
        for finding in rules_of(
            HEAD
            + "rule a overrides b: for modality vision prefer 0 by 1\n"
            + "rule b overrides c: in layers 3.. prefer 1 by 1\n"
            + "rule c overrides d: for task ocr prefer 1 by 1\n"
            + "rule d overrides a: prefer 1 by 1\n"
        )
        if finding.name == "override-cycle"
    ]
    assert finding.message.endswith("`a` → `b` → `c` → `d` → `a`")
    assert finding.witness == {"layer": 3, "modality": "vision", "task": "ocr"}


def test_a_circle_that_meets_nowhere_is_none() -> None:
    found = rule_findings(
        "rule a overrides b: for modality vision prefer 0 by 1\n"
        "rule b overrides c: for task ocr prefer 1 by 1\n"
        "rule c overrides a: for modality language prefer 2 by 1\n"
    )
    assert "override-cycle" not in {name for name, *_ in found}


def test_a_circle_of_many_rules_is_found_without_going_deep() -> None:
    rules = (f"rule r{i} overrides r{(i + 1) % 300}: prefer 0 by 1\n" for i in range(300))
    found = {entry[:2] for entry in rule_findings("".join(rules)) if entry[0] == "override-cycle"}
    assert found == {("override-cycle", "r0")}


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


def test_of_several_that_are_overridden_the_one_in_question_is_underlined() -> None:
    line = "rule a overrides b, c, d: for modality vision in layers 3 prefer 0 by 1"
    text = f"{HEAD}{line}\nrule b: for modality language prefer 1 by 1\nrule c overrides a: in layers 3 prefer 2 by 1\n"
    text += "rule d: in layers 3 prefer 3 by 1\n"
    for name, underlined in (("override-no-overlap", "b"), ("override-cycle", "c")):
        (finding,) = [finding for finding in findings_of(text) if finding.name == name]
        assert line[finding.span.start.column - 1 : finding.span.end.column - 1] == underlined
