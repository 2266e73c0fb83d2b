"""The JSON of the command line, held to the schemas of tests/files/contract."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from prior_programs import FILES, LANGUAGE_FILES

from priorlang.cli.commands import cli

GOLDEN = FILES / "golden"


def schema(name: str) -> dict[str, Any]:
    loaded = json.loads((FILES / "contract" / f"{name}.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(loaded)
    return loaded


def output(*words: object, exits: int) -> dict[str, Any]:
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == exits, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("file", "exits"),
    [
        ("golden/before.prior", 0),
        ("golden/mistakes.prior", 1),
        ("golden/mistakes.yaml", 1),
        ("golden/conflict.prior", 1),
        ("none.prior", 2),
        ("golden", 2),
    ],
)
def test_validate(file: str, exits: int) -> None:
    document = output("validate", FILES / file, "--format", "json", exits=exits)
    jsonschema.validate(document, schema("validate"))
    for finding in document["findings"]:
        jsonschema.validate(finding, schema("finding"))
    errors = sum(finding["severity"] == "error" for finding in document["findings"])
    assert document["summary"]["errors"] == errors == (0 if exits == 0 else max(1, errors))
    assert document["files"] == [str(FILES / file)]


def test_a_conflict_has_both_places_a_witness_and_a_fix() -> None:
    (finding,) = output("validate", GOLDEN / "conflict.prior", "--format", "json", exits=1)["findings"]
    assert (finding["code"], finding["name"]) == ("PL301", "conflict")
    assert finding["witness"] == {"layer": 6, "modality": "vision", "task": "ocr"}
    assert finding["span"]["start"] == {"line": 11, "column": 49}
    assert finding["span"]["end"] == {"line": 11, "column": 60}
    assert [related["span"]["start"]["line"] for related in finding["related"]] == [10]
    (edit,) = finding["fix"]["edits"]
    lines = (GOLDEN / "conflict.prior").read_text(encoding="utf-8").split("\n")
    line, column = edit["span"]["start"]["line"] - 1, edit["span"]["start"]["column"] - 1
    assert (lines[line][:column] + edit["text"]).endswith("rule ocr overrides vision")


@pytest.mark.parametrize(
    "cell", ["modality=vision task=ocr layer=5", "modality=language layer=23", "modality=language layer=0"]
)
def test_explain(cell: str) -> None:
    document = output("explain", GOLDEN / "before.prior", "--at", cell, "--format", "json", exits=0)
    jsonschema.validate(document, schema("explain"))
    numbers = [document[name] for name in ("alpha", "mean", "weight", "top_k_probability", "population")]
    assert all((number is None) == document["unshaped"] for number in numbers)
    if not document["unshaped"]:
        assert sum(document["mean"]) == pytest.approx(1)
        assert sum(document["top_k_probability"]) == pytest.approx(2)


def test_a_derivation_adds_up() -> None:
    document = output(
        *("explain", GOLDEN / "before.prior", "--at", "modality=vision task=ocr layer=5", "--format", "json"),
        exits=0,
    )
    alpha = [0.0] * 4
    for step in document["derivation"]:
        if step["effect"] == "base":
            alpha = [step["value"]] * 4
        elif step["effect"] == "prefer":
            for expert, amount in step["value"].items():
                alpha[int(expert)] += amount
    assert alpha == document["alpha"] == [0.75, 1.75, 0.75, 1.75]
    assert document["overridden"] == ["vision"]
    assert document["cell"] == {"layer": 5, "modality": "vision", "task": "ocr"}


@pytest.mark.parametrize(("other", "exits"), [("golden/after.prior", 1), ("golden/before.prior", 0)])
def test_diff(other: str, exits: int) -> None:
    document = output("diff", GOLDEN / "before.prior", FILES / other, "--format", "json", exits=exits)
    jsonschema.validate(document, schema("diff"))
    assert document["identical"] == (exits == 0)
    cells = document["cells"]
    assert cells["changed"] == sum(region["cells"] for region in cells["regions"])


def test_the_forms_differ_in_nothing() -> None:
    pair = [LANGUAGE_FILES / "g-today.prior", LANGUAGE_FILES / "g-today.yaml"]
    document = output("diff", *pair, "--format", "json", exits=0)
    assert document["identical"]
    assert document["cells"]["changed"] == 0
    assert not document["declarations"]
