"""Which stage's model each stage begins from, and what that asks of the stages.

Without `start_from` that is the stage before. With it stages branch: several can begin from one, and a stage with
`upcycle: {method: btx, branches: […]}` joins them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

from priorlang.diagnostics.finding import Finding, Fix, Related, Severity
from priorlang.diagnostics.suggest import closest, listing
from priorlang.training.upcycle_checks import shown

if TYPE_CHECKING:
    from priorlang.training.plan import StagePlan, TrainingPlan
    from priorlang.training.yaml_tree import Path, SourceTree

INITIAL = "initial"
"""What `start_from` calls the model that the file names."""


def origin_of(plan: TrainingPlan, index: int) -> StagePlan | None:
    """The stage whose model stage `index` begins from; None for the model that the file names."""
    wanted = plan.stages[index].start_from
    if wanted == INITIAL:
        return None
    if wanted is not None:
        return plan.stage(wanted)
    return plan.stages[index - 1] if index else None


def is_folder(branch: str) -> bool:
    """Whether a branch is a folder (or a hub name) and not a stage: it has a slash."""
    return "/" in branch


def check_lineage(plan: TrainingPlan, tree: SourceTree) -> Iterator[Finding]:
    """Findings about `start_from`, `branches`, and stages that would have to lose their experts."""
    makers: dict[str, StagePlan] = {}
    for index, stage in enumerate(plan.stages):
        earlier = [other.name for other in plan.stages[:index]]
        if stage.name == INITIAL:
            yield _error(
                "no stage can be called `initial`, which is the model that the file names",
                tree,
                index,
                "name",
            )
        if stage.start_from is not None and stage.start_from not in (INITIAL, *earlier):
            yield _unknown("start_from", stage.start_from, (*earlier, INITIAL), tree, index)
            continue
        origin = origin_of(plan, index)
        maker = makers.get(origin.name) if origin is not None else None
        if stage.moe:
            makers[stage.name] = maker or stage
            yield from _experts(stage, maker, makers, earlier, tree, index)
        elif maker is not None:
            message = (
                f"stage `{stage.name}` is dense, but `{maker.name}` before it made experts: add `moe: true`"
            )
            yield _error(message, tree, index)


def _experts(
    stage: StagePlan,
    maker: StagePlan | None,
    makers: dict[str, StagePlan],
    earlier: list[str],
    tree: SourceTree,
    index: int,
) -> Iterator[Finding]:
    if maker is not None:
        if maker.upcycle != stage.upcycle:
            yield _another_upcycle(stage, maker, tree, index, earlier.index(maker.name))
        return
    for branch in stage.upcycle.branches if stage.upcycle is not None else ():
        if is_folder(branch):
            if FilePath(branch).is_absolute() and not FilePath(branch).is_dir():
                yield _finding(
                    "missing-file", f"there is no folder `{branch}`", tree, index, "upcycle", "branches"
                )
        elif branch not in earlier:
            yield _unknown("branches", branch, tuple(earlier), tree, index)
        elif branch in makers:
            message = f"branch `{branch}` has experts already: branches are dense stages"
            yield _error(message, tree, index, "upcycle", "branches")


def _another_upcycle(stage: StagePlan, maker: StagePlan, tree: SourceTree, index: int, makes: int) -> Finding:
    """A stage goes on with the experts that stage `makes` made: at the first value that differs, with the other."""
    message = f"stage `{maker.name}` makes the experts; `{stage.name}` cannot give another `upcycle`"
    if stage.upcycle is None or maker.upcycle is None:
        return _error(message, tree, index, "upcycle")
    key = next(
        key
        for key in type(maker.upcycle).model_fields
        if getattr(maker.upcycle, key) != getattr(stage.upcycle, key)
    )
    ours, theirs = (shown(getattr(upcycle, key)) for upcycle in (stage.upcycle, maker.upcycle))
    related = Related(
        f"`{maker.name}` has {key} = {theirs} from here: give both the same, above `stages`",
        tree.value_span(_place(tree, makes, "upcycle", key)),
    )
    span = tree.value_span(_place(tree, index, "upcycle", key))
    return Finding("invalid-value", Severity.ERROR, f"{message}, {key} = {ours}", span, (related,))


def _unknown(key: str, name: str, known: tuple[str, ...], tree: SourceTree, index: int) -> Finding:
    near = closest(name, known)
    hint = f"did you mean `{near}`?" if near else f"before it there are {listing(known) or 'none'}"
    folder = "; a folder is written with a slash: `./folder`" if key == "branches" else ""
    keys = ("upcycle", "branches") if key == "branches" else (key,)
    return _error(f"`{key}` names `{name}`, which is no earlier stage; {hint}{folder}", tree, index, *keys)


def _error(message: str, tree: SourceTree, index: int, *keys: str) -> Finding:
    return _finding("invalid-value", message, tree, index, *keys)


def _finding(name: str, message: str, tree: SourceTree, index: int, *keys: str) -> Finding:
    """At the stage's own entry, the default above, or the stage."""
    place = _place(tree, index, *keys)
    fix = Fix("paths start from the folder of the training file") if name == "missing-file" else None
    return Finding(name, Severity.ERROR, message, tree.value_span(place), fix=fix)


def _place(tree: SourceTree, index: int, *keys: str) -> Path:
    stage: Path = ("stages", index)
    path: Path = (*stage, *keys)
    if path[:3] not in tree.places:
        path = keys  # the stage has it from the top of the file
    ways = (path[:depth] for depth in range(len(path), 0, -1))
    return next((way for way in (*ways, stage) if way in tree.places), ())
