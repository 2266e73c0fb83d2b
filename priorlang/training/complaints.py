"""Validation errors of pydantic as findings: the place in the file, plain words, the nearest known name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel, ValidationError

from priorlang.diagnostics.finding import Edit, Finding, Fix, Severity
from priorlang.diagnostics.suggest import closest, listing
from priorlang.training.evaluation import EvaluationPlan
from priorlang.training.model_plan import COMPOSED_KEYS, ComposedPlan, ModelPlan, PartConfigs
from priorlang.training.plan import RUN_KEYS, DataSource, ExpectedRecords, StagePlan
from priorlang.training.regularizers import REGULARIZERS
from priorlang.training.upcycle import UpcyclePlan
from priorlang.training.yaml_tree import Path, SourceTree

PARTS: dict[str, type[BaseModel]] = {
    "model": ModelPlan,
    "configs": PartConfigs,
    "expected": ExpectedRecords,
    "upcycle": UpcyclePlan,
    "evaluate": EvaluationPlan,
}

ELSEWHERE = {
    "resume_from_checkpoint": "a run is resumed with `priorlang train --resume RUN`",
    "fsdp": "training runs on DeepSpeed: `deepspeed: {zero_optimization: {stage: 3}}` shards the model",
    "warmup_steps": "write `warmup_ratio`, or `training_arguments: {warmup_steps: …}`",
}
"""Keys that people bring from elsewhere, and what to write here."""

PLAIN = {
    "bool_parsing": "should be `true` or `false`",
    "bool_type": "should be `true` or `false`",
    "dict_type": "should be a mapping",
    "float_parsing": "should be a number",
    "float_type": "should be a number",
    "finite_number": "should be a finite number",
    "int_from_float": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_type": "should be a whole number",
    "list_type": "should be a list",
    "model_attributes_type": "should be a mapping",
    "model_type": "should be a mapping",
    "path_type": "should be a path",
    "string_type": "should be a text",
    "tuple_type": "should be a list",
}
"""What pydantic's types of complaint are called in a file."""


def findings_of(
    error: ValidationError, tree: SourceTree, locate: Callable[[Path], Path]
) -> Iterable[Finding]:
    """One finding per complaint; `locate` turns pydantic's location into a path of the file."""
    complaints = [
        (tree.existing(locate(complaint["loc"])), complaint) for complaint in error.errors(include_url=False)
    ]
    places = [path for path, _ in complaints]
    if not any((key,) in tree.places for key in ("model", "model_name_or_path")) and () in places:
        yield no_model(tree)
    for path, complaint in complaints:
        if complaint["type"] == "literal_error" and any(_is_within(other, path) for other in places):
            continue  # `all` or a list: what is wrong inside of the list is said there
        match complaint["type"]:
            case "extra_forbidden":
                yield unknown_key(tree, path)
            case "missing":
                yield missing_key(tree, path, str(complaint["loc"][-1]))
            case "union_tag_not_found":
                yield missing_key(tree, path, "type")
            case "union_tag_invalid":
                yield _unknown_type(tree, (*path, "type"))
            case "model_attributes_type" if "regularizers" in path:
                message = "a regularizer is a mapping: `{type: z_loss, coefficient: 0.001}`"
                yield Finding("invalid-value", Severity.ERROR, message, tree.value_span(path))
            case "string_type" if complaint["loc"][-2:-1] == ("attributes",):
                yield _no_member(tree, path)
            case _:
                yield _invalid(tree, path, complaint)


def unknown_key(tree: SourceTree, path: Path) -> Finding:
    """A key that the file's grammar does not have at this place."""
    key, span = str(path[-1]), tree.key_span(path)
    if path[0] == "stages" and key in RUN_KEYS:
        message = f"`{key}` belongs to the whole run: write it above `stages`, not in one of them"
        return Finding("unknown-key", Severity.ERROR, message, span)
    if key in ELSEWHERE and len(path) in (1, 3):
        return Finding("unknown-key", Severity.ERROR, f"unknown key `{key}`: {ELSEWHERE[key]}", span)
    kind = _regularizer_type(path, tree)
    if kind is not None and key in REGULARIZERS[kind].elsewhere:
        message = f"`{kind}` has no key `{key}`: {REGULARIZERS[kind].elsewhere[key]}"
        return Finding("unknown-key", Severity.ERROR, message, span)
    known = _known_keys(path, tree)
    guess = closest(key, known)
    if guess:
        fix = Fix(f"write `{guess}`", (Edit(span, guess),))
        return Finding(
            "unknown-key", Severity.ERROR, f"unknown key `{key}`; did you mean `{guess}`?", span, fix=fix
        )
    part = kind or (path[-2] if len(path) > 1 and path[-2] in PARTS else None)
    where = f"`{part}` has {listing(known)}" if part else None
    advice = where or f"further arguments of transformers go under `training_arguments: {{{key}: …}}`"
    return Finding("unknown-key", Severity.ERROR, f"unknown key `{key}`; {advice}", span)


def no_model(tree: SourceTree) -> Finding:
    """A file that names no model."""
    message = (
        "the file needs `model_name_or_path` (a folder or hub name), `model: {config: …}` or "
        "`model: {language_model: …, vision_tower: …}`"
    )
    return Finding("missing-key", Severity.ERROR, message, tree.value_span(()))


def _is_within(inner: Path, outer: Path) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def missing_key(tree: SourceTree, path: Path, key: str) -> Finding:
    """A key that has to be there; `path` is the mapping it is missing from."""
    owner = (
        f"`{path[-1]}`" if path and isinstance(path[-1], str) else "the file" if not path else "this entry"
    )
    return Finding("missing-key", Severity.ERROR, f"{owner} needs the key `{key}`", tree.value_span(path))


def _no_member(tree: SourceTree, path: Path) -> Finding:
    """Another key of a data source: an attribute that has no name for its member, or a slip."""
    key = str(path[-1])
    guess = closest(key, [name for name in DataSource.model_fields if name != "attributes"])
    hint = f"; did you mean `{guess}`?" if guess else ""
    message = f"`{key}` should be a member of that attribute, as in `task: vqa`{hint}"
    return Finding("invalid-value", Severity.ERROR, message, tree.value_span(path))


def _invalid(tree: SourceTree, path: Path, complaint: Any) -> Finding:
    given, span = complaint["input"], tree.value_span(path)
    key = next((str(step) for step in reversed(path) if isinstance(step, str)), "the file")
    choices = (complaint.get("ctx") or {}).get("expected")
    reason = PLAIN.get(complaint["type"]) or complaint["msg"].removeprefix("Value error, ").replace(
        "Input should be", "should be"
    )
    guess = (
        closest(given, str(choices).replace("'", "").replace(" or ", ", ").split(", "))
        if choices and isinstance(given, str)
        else None
    )
    hint = f"; did you mean `{guess}`?" if guess else ""
    shown = "" if isinstance(given, dict | list) else f", here it is `{given}`"
    fix = Fix(f"write `{guess}`", (Edit(span, guess),)) if guess else None
    name = "missing-file" if complaint["type"] == "missing-file" else "invalid-value"
    subject = "" if reason.startswith("`") else f"`{key}` "
    return Finding(name, Severity.ERROR, f"{subject}{reason}{shown}{hint}", span, fix=fix)


def _unknown_type(tree: SourceTree, path: Path) -> Finding:
    """A regularizer of no known type."""
    given, span = str(_value_at(path, tree)), tree.value_span(path)
    guess = closest(given, REGULARIZERS)
    hint = f"did you mean `{guess}`?" if guess else f"there are {listing(REGULARIZERS)}"
    fix = Fix(f"write `{guess}`", (Edit(span, guess),)) if guess else None
    return Finding(
        "invalid-value", Severity.ERROR, f"no regularizer has the `type` `{given}`; {hint}", span, fix=fix
    )


def _regularizer_type(path: Path, tree: SourceTree) -> str | None:
    """The type of the regularizer that a key at `path` belongs to; None where it belongs to none."""
    place = next((at for at, step in enumerate(path[:-1]) if step == "regularizers"), None)
    if place is None:
        return None
    entry = path[: place + 2] if len(path) > place + 2 else path[: place + 1]
    kind = _value_at((*entry, "type"), tree)
    return kind if isinstance(kind, str) and kind in REGULARIZERS else None


def _value_at(path: Path, tree: SourceTree) -> Any:
    """The plain value that stands at `path`; None where nothing does."""
    value = tree.root
    for step in path if path in tree.places else ():
        value = value[step]
    return value if path in tree.places else None


def _known_keys(path: Path, tree: SourceTree) -> list[str]:
    regularizer = _regularizer_type(path, tree)
    if regularizer is not None:
        return list(REGULARIZERS[regularizer].model_fields)
    names = [step for step in path[:-1] if isinstance(step, str)]
    if names == ["model"] and any(("model", key) in tree.places for key in COMPOSED_KEYS):
        return list(ComposedPlan.model_fields)
    if names and names[-1] in PARTS:
        return list(PARTS[names[-1]].model_fields)
    if path[0] == "stages":
        return list(StagePlan.model_fields)
    return [*RUN_KEYS, "stages", *(key for key in StagePlan.model_fields if key != "name")]
