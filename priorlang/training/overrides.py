"""`--set` on a training file: dotted paths to values, applied before anything is validated."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.span import Span, whole_file
from priorlang.diagnostics.suggest import closest, listing
from priorlang.settings import named_texts
from priorlang.training.plan import ONE_OR_MANY
from priorlang.training.yaml_tree import Path, Place, SourceTree, read_value

EXAMPLE = "stages.finetune.max_steps=3"


def parse_overrides(given: Mapping[str, Any] | Iterable[str], example: str = EXAMPLE) -> Mapping[str, Any]:
    """Dotted paths to values, from a mapping or from `--set NAME=VALUE` texts.

    Raises:
        PriorError: a text is not NAME=VALUE; `example` is what it could have been.
    """
    return given if isinstance(given, Mapping) else named_texts(given, example)


def with_overrides(tree: SourceTree, overrides: Mapping[str, Any]) -> SourceTree:
    """The tree with each dotted path set to its value.

    A list item is named by its position or, where its items have a `name`, by that:
    `stages.0.max_steps` and `stages.finetune.max_steps` are the same place. Missing mappings on the way
    are made. A value given as text is read as YAML.

    Raises:
        PriorError: a path leads through a value that is neither mapping nor list, or to no list item.
    """
    if not overrides:
        return tree
    root = copy.deepcopy(tree.root) if tree.root is not None else {}
    places = dict(tree.places)
    findings: list[Finding] = []
    for dotted, given in overrides.items():
        span = whole_file(f"--set {dotted}={given}")
        try:
            value = read_value(given) if isinstance(given, str) else given
            steps = dotted.split(".")
            _read_deepspeed(root, steps, FilePath(tree.file).parent)
            stage = _inherit(root, steps)
            if stage is not None:
                own = {(*stage, *at): place for at, place in places.items() if at[:1] == (steps[2],)}
                places = {**places, **own}
            path = _assign(root, steps, value, span)
        except PriorError as error:
            findings.extend(Finding(f.name, f.severity, f.message, span) for f in error.findings)
            continue
        places = {at: place for at, place in places.items() if at[: len(path)] != path}
        made = (path[:depth] for depth in range(1, len(path)) if path[:depth] not in places)
        places.update(dict.fromkeys((*made, *_paths(value, path)), Place(span, span)))
    if findings:
        raise PriorError(findings)
    return SourceTree(tree.file, root, places)


def _paths(value: Any, path: Path) -> Iterator[Path]:
    """The path of a value and of everything in it."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from _paths(item, (*path, key))


def _read_deepspeed(root: Any, steps: list[str], folder: FilePath) -> None:
    """Put the JSON that `deepspeed` names in the name's place, where a part of it is to be set.

    One that cannot be read is left: setting a part of it is refused then.
    """
    in_stage = steps[0] == "stages" and "deepspeed" in steps[2:3]
    below = steps[3:] if in_stage else steps[1:]
    if not below or not (in_stage or steps[0] == "deepspeed") or not isinstance(root, dict):
        return
    stages = root.get("stages") if in_stage else None
    for entry in (root, *(stages if isinstance(stages, list) else ())):
        named = entry.get("deepspeed") if isinstance(entry, dict) else None
        if not isinstance(named, str):
            continue
        try:
            found = json.loads((folder / FilePath(named).expanduser()).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(found, dict):
            entry["deepspeed"] = found


def _inherit(root: Any, steps: list[str]) -> Path | None:
    """Give a stage its own copy of what it has from the top of the file, where a part of that is to be set.

    Returns:
        The path of the stage; None where nothing was copied.
    """
    stages = root.get("stages") if isinstance(root, dict) else None
    if len(steps) < 4 or steps[0] != "stages" or not isinstance(stages, list):
        return None
    _, name, key, *_ = steps
    for index, stage in enumerate(stages):
        if isinstance(stage, dict) and name in (stage.get("name"), str(index)):
            if key in stage or not isinstance(root.get(key), (dict, list)):
                return None
            stage[key] = copy.deepcopy(root[key])
            return ("stages", index)
    return None


def _assign(container: Any, steps: list[str], value: Any, span: Span) -> Path:
    """Set the value at `steps` below `container`; returns the path with list positions for names."""
    path: list[str | int] = []
    for depth, step in enumerate(steps):
        last = depth == len(steps) - 1
        key: str | int
        if isinstance(container, list):
            key = _list_position(container, step, ".".join(steps[:depth]), span)
        elif isinstance(container, dict) and step:
            key = step
        elif step and isinstance(container, str):
            whole = ".".join(steps[:depth])
            message = f"`{whole}` is `{container}`, which has no `{step}` to set; set all of it"
            if steps[depth - 1] == "deepspeed":
                message += f": `--set '{whole}={_nested(steps[depth:], value)}'`"
            raise _refusal(message, span)
        else:
            raise _refusal(f"`{'.'.join(steps[: depth + 1])}`: there is no `{step}` to set here", span)
        if isinstance(container, dict) and step.isdecimal() and path and path[-1] in ONE_OR_MANY:
            one = ".".join(steps[:depth])
            raise _refusal(f"`{one}` is one entry and no list: leave out the `{step}` after it", span)
        path.append(key)
        if last:
            container[key] = value
        elif isinstance(container, dict) and container.get(str(key)) is None:
            if steps[depth + 1].isdecimal():
                message = f"there is no `{'.'.join(steps[: depth + 1])}` to take item {steps[depth + 1]} of; set the whole list"
                raise _refusal(message, span)
            container[key] = {}
        container = container[key]
    return tuple(path)


def _nested(steps: list[str], value: Any) -> str:
    """A mapping with one value below `steps`, in YAML's short form."""
    inner = json.dumps(value, default=str)
    for step in reversed(steps):
        inner = f"{{{step}: {inner}}}"
    return inner


def _list_position(items: list[Any], step: str, where: str, span: Span) -> int:
    names = [str(item["name"]) for item in items if isinstance(item, dict) and "name" in item]
    for index, item in enumerate(items):
        if isinstance(item, dict) and item.get("name") == step:
            return index
    if step.isdecimal() and int(step) < len(items):
        return int(step)
    guess = closest(step, names)
    hint = f"; did you mean `{guess}`?" if guess else f"; it has {listing(names)}" if names else ""
    raise _refusal(f"`{where}` has no item `{step}` (its positions are 0 to {len(items) - 1}){hint}", span)


def _refusal(message: str, span: Span) -> PriorError:
    return PriorError([Finding("unknown-key", Severity.ERROR, message, span)])
