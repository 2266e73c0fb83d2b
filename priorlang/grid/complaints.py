"""Validation errors of a grid file as findings: the place, plain words, the nearest known key."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ValidationError

from priorlang.diagnostics.finding import Edit, Finding, Fix, Severity
from priorlang.diagnostics.suggest import closest, listing
from priorlang.grid.plan import GridPlan, Metric, Search, Variant
from priorlang.training.yaml_tree import Path, SourceTree


def findings_of(error: ValidationError, tree: SourceTree) -> Iterator[Finding]:
    """One finding per complaint."""
    complaints = error.errors(include_url=False)
    for complaint in complaints:
        if complaint["type"] == "too_short" and any(
            _below(complaint["loc"], other["loc"]) for other in complaints
        ):
            # Pydantic counts the items that were sound.
            continue
        path = tree.existing(complaint["loc"])
        match complaint["type"]:
            case "extra_forbidden":
                yield _unknown_key(tree, path)
            case "missing":
                owner = f"`{path[-1]}`" if path else "the file"
                message = f"{owner} needs the key `{complaint['loc'][-1]}`"
                yield Finding("missing-key", Severity.ERROR, message, tree.value_span(path))
            case _:
                key = next((step for step in reversed(path) if isinstance(step, str)), "the file")
                reason = (
                    complaint["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
                )
                given = complaint["input"]
                shown = "" if isinstance(given, dict | list) else f", here it is `{given}`"
                message = f"`{key}` {reason}{shown}"
                yield Finding("invalid-value", Severity.ERROR, message, tree.value_span(path))


def _below(path: Path, other: Path) -> bool:
    return len(other) > len(path) and other[: len(path)] == path


def _unknown_key(tree: SourceTree, path: Path) -> Finding:
    key, span, known = str(path[-1]), tree.key_span(path), list(_owner(path).model_fields)
    guess = closest(key, known)
    if guess:
        fix = Fix(f"write `{guess}`", (Edit(span, guess),))
        message = f"unknown key `{key}`; did you mean `{guess}`?"
        return Finding("unknown-key", Severity.ERROR, message, span, fix=fix)
    advice = "; keys of the training file go under `set:`, as `set: {stages.finetune.max_steps: 3}`"
    message = f"unknown key `{key}`; known are {listing(known)}{advice}"
    return Finding("unknown-key", Severity.ERROR, message, span)


def _owner(path: Path) -> type[BaseModel]:
    match path[0]:
        case _ if len(path) == 1:
            return GridPlan
        case "vary":
            return Variant
        case "search" if "metric" not in path[1:-1]:
            return Search
        case _:
            return Metric
