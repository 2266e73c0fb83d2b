"""SARIF against its own schema."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

from priorlang.diagnostics.sarif import findings_sarif
from priorlang.phases import Prior
from priorlang.syntax.source import SourceFile

SCHEMA = json.loads((Path(__file__).parents[2] / "files" / "sarif-2.1.0.json").read_text())
BROKEN = """priorlang 1
model { layers = 4 experts = 4 top_k = 2 }
attribute task { ocr, vqa }
default base 1 weight 0.01
rule a: for task ocr weight 0.1
rule b: weight 0.2
rule c: for task orc prefer 0 by 1
"""


def test_document_follows_the_schema() -> None:
    findings = Prior(SourceFile("folder/a b.prior", BROKEN)).findings
    document = findings_sarif(findings, "0.1.0")
    jsonschema.Draft4Validator(SCHEMA).validate(document)
    results = document["runs"][0]["results"]
    assert {result["ruleId"] for result in results} == {finding.code for finding in findings}
    rules = document["runs"][0]["tool"]["driver"]["rules"]
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in results)
    assert results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "folder/a%20b.prior"


def test_places_are_those_of_the_finding() -> None:
    finding = next(f for f in Prior(SourceFile("a.prior", BROKEN)).findings if f.name == "unknown-member")
    result = findings_sarif([finding], "0")["runs"][0]["results"][0]
    assert result["locations"][0]["physicalLocation"]["region"] == {
        "startLine": 7,
        "startColumn": 18,
        "endLine": 7,
        "endColumn": 21,
    }
    change = result["fixes"][0]["artifactChanges"][0]["replacements"][0]
    assert change["insertedContent"]["text"] == "ocr"
    assert result["fixes"][0]["properties"] == {"automatic": True}


def test_nothing_found_is_a_valid_run() -> None:
    document = findings_sarif([], "0.1.0")
    jsonschema.Draft4Validator(SCHEMA).validate(document)
    assert document["runs"][0]["results"] == []
