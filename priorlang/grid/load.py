"""Read a grid file: every finding at once, or a plan."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from priorlang.diagnostics.finding import Finding, Fix, PriorError, Severity
from priorlang.diagnostics.span import whole_file
from priorlang.diagnostics.suggest import closest, listing
from priorlang.grid.complaints import findings_of
from priorlang.grid.plan import NAME, GridPlan, Metric
from priorlang.grid.results import ROUTING, ROUTING_NAMES
from priorlang.training.load import text_of
from priorlang.training.resolve import absolute
from priorlang.training.yaml_tree import Path, SourceTree, read_tree

LARGEST = 10_000
"""Cells of a grid; more are a mistake in crossing."""


@dataclass(frozen=True)
class LoadedGrid:
    """A grid, and the document it came from, for findings that only show later."""

    plan: GridPlan
    tree: SourceTree

    def place(self, variant: str, *keys: str) -> Path:
        """Where a variant says something, or what all cells share; the nearest that is written."""
        names = self.plan.variants[variant].names
        for axis, name in enumerate(names):
            path = (*_variant(self.tree, axis, name), *keys)
            if path in self.tree.places:
                return path
        return keys if keys in self.tree.places else _variant(self.tree, 0, names[0])


def read_grid(path: str | PathLike[str]) -> LoadedGrid:
    """Read, validate and check a grid file; the training file that it names is read by `cells`.

    Args:
        path: the YAML file; `base`, `output_dir`, `shared_dir` and priors in it are relative to its folder, paths below `set` to
            that of the training file.

    Raises:
        PriorError: anything is wrong with the file; carries all findings.
    """
    file = FilePath(path)
    tree = read_tree(text_of(file, "grid file"), str(path))
    if not isinstance(tree.root, dict):
        message = "a grid file has `base`, `output_dir` and `vary`"
        raise PriorError([Finding("missing-key", Severity.ERROR, message, whole_file(tree.file))])
    try:
        plan = GridPlan.model_validate(_with_paths(tree.root, file.resolve().parent))
    except ValidationError as error:
        raise PriorError(dict.fromkeys(findings_of(error, tree))) from None
    if findings := list(_checks(plan, tree)):
        raise PriorError(findings)
    return LoadedGrid(plan, tree)


def _variant(tree: SourceTree, axis: int, name: str) -> Path:
    """Where an entry of an axis stands: one axis needs no list around it."""
    return ("vary", name) if isinstance(tree.root["vary"], dict) else ("vary", axis, name)


def _with_paths(top: dict[str, Any], folder: FilePath) -> dict[str, Any]:
    resolved = dict(top)
    for key in ("base", "output_dir", "shared_dir"):
        if isinstance(top.get(key), str):
            resolved[key] = absolute(top[key], folder)
    if "vary" in top:
        axes = top["vary"]
        resolved["vary"] = (
            [_axis(axis, folder) for axis in axes] if isinstance(axes, list) else _axis(axes, folder)
        )
    return resolved


def _axis(axis: Any, folder: FilePath) -> Any:
    if not isinstance(axis, dict):
        return axis
    return {
        name: {**variant, "prior": absolute(variant["prior"], folder)}
        if isinstance(variant, dict) and isinstance(variant.get("prior"), str)
        else variant
        for name, variant in axis.items()
    }


def _checks(plan: GridPlan, tree: SourceTree) -> Iterator[Finding]:
    yield from _files(plan, tree)
    yield from _names(plan, tree)
    if not plan.vary or not all(plan.vary):
        yield _error(
            "missing-key", "`vary` names at least one variant: `vary: {sparse: {}}`", tree, ("vary",)
        )
        return
    cells = len(plan.seeds)
    for axis in plan.vary:
        cells *= len(axis)
    if cells > LARGEST:
        message = f"{cells:,} cells are more than a grid may have ({LARGEST:,}): cross fewer variants"
        yield _error("out-of-range", message, tree, ("vary",))
        return
    yield from _reference(plan, tree)
    yield from _seeds(plan, tree)
    yield from _search(plan, tree)
    yield from _routing(plan, tree)


def _files(plan: GridPlan, tree: SourceTree) -> Iterator[Finding]:
    if not plan.base.is_file():
        yield _error("missing-file", f"there is no training file `{plan.base}`", tree, ("base",))
    for axis, entries in enumerate(plan.vary):
        for name, variant in entries.items():
            if variant.prior is not None and not variant.prior.is_file():
                place = (*_variant(tree, axis, name), "prior")
                yield _error("missing-file", f"there is no prior file `{variant.prior}`", tree, place)


def _names(plan: GridPlan, tree: SourceTree) -> Iterator[Finding]:
    for axis, entries in enumerate(plan.vary):
        for name in entries:
            if not re.fullmatch(NAME, name):
                message = f"`{name}` is to name a folder: letters, digits, `.`, `_` and `-`"
                place = _variant(tree, axis, name)
                yield Finding("invalid-value", Severity.ERROR, message, tree.key_span(place))
    for title, count in Counter(metric.title for metric in plan.metrics).items():
        if count > 1:
            yield _error("duplicate-name", f"two metrics are called `{title}`", tree, ("metrics",))


def _reference(plan: GridPlan, tree: SourceTree) -> Iterator[Finding]:
    if plan.reference_name in plan.variants:
        return
    guess = closest(plan.reference_name, plan.variants)
    hint = f"did you mean `{guess}`?" if guess else f"there are {listing(plan.variants)}"
    message = f"`reference` is no variant: there is no `{plan.reference_name}`; {hint}"
    yield _error("unknown-name", message, tree, ("reference",))


def _routing(plan: GridPlan, tree: SourceTree) -> Iterator[Finding]:
    """The names of what is measured of routing are known; those of metrics.jsonl are not before training."""
    asked: list[tuple[Path, Metric]] = [(("metrics",), metric) for metric in plan.metrics]
    if plan.search is not None:
        asked.append((("search", "metric"), plan.search.metric))
    for place, metric in asked:
        known = metric.metric in ROUTING_NAMES or re.fullmatch(
            rf"{re.escape(ROUTING_NAMES[0])}\.\d+", metric.metric
        )
        if known or not metric.metric.startswith(ROUTING):
            continue
        guess = closest(metric.metric, ROUTING_NAMES)
        hint = f"did you mean `{guess}`?" if guess else f"there are {listing(ROUTING_NAMES)}"
        yield _error("unknown-name", f"there is no metric `{metric.metric}`; {hint}", tree, place)


def _seeds(plan: GridPlan, tree: SourceTree) -> Iterator[Finding]:
    for seeds, path in (
        (plan.seeds, ("seeds",)),
        (plan.search.seeds if plan.search else (), ("search", "seeds")),
    ):
        twice = [seed for seed, count in Counter(seeds).items() if count > 1]
        if twice:
            yield _error("invalid-value", f"seed {twice[0]} stands here twice", tree, path)
    shared = set(plan.seeds) & set(plan.search.seeds if plan.search else ())
    if shared:
        message = f"seed {min(shared)} is reported and searched with: choose settings on other seeds"
        yield _error("invalid-value", message, tree, ("search", "seeds"))


def _search(plan: GridPlan, tree: SourceTree) -> Iterator[Finding]:
    """Every method gets as many settings as any other, or says that it has nothing to choose."""
    for names in plan.variants.values():
        given = [(name, part.search) for name, part in zip(names.names, names.parts, strict=True)]
        said = [(name, search) for name, search in given if search is not None]
        place = _variant(tree, 0, names.names[0])
        if plan.search is None:
            if said:
                message = "there is no `search:` above `vary` that says by which metric and on which seeds to choose"
                yield _error("missing-key", message, tree, place)
            continue
        searched = [search for _, search in said if isinstance(search, dict)]
        if not said:
            message = (
                f"variant `{'+'.join(names.names)}` has no `search`, and every method gets the same: name "
                f"{plan.search.settings} values of its parameter, or `search: none` where it has none"
            )
            yield Finding(
                "missing-key", Severity.ERROR, message, tree.key_span(place), fix=Fix("add `search: none`")
            )
        elif len(searched) > 1 or any(len(search) != 1 for search in searched):
            message = "each method searches over one parameter: `search: {upcycle.noise: [0.01, 0.1]}`"
            yield _error("invalid-value", message, tree, place)
        elif searched and any(len(values) != plan.search.settings for values in searched[0].values()):
            message = (
                f"each method tries {plan.search.settings} settings (`search.settings`), no more and no fewer"
            )
            yield _error("invalid-value", message, tree, (*place, "search"))


def _error(name: str, message: str, tree: SourceTree, path: Path) -> Finding:
    return Finding(name, Severity.ERROR, message, tree.value_span(path))
