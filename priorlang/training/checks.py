"""What a valid-looking plan may still get wrong: values against each other, and the files it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path as FilePath

from priorlang.diagnostics.finding import Finding, Related, Severity
from priorlang.training.complaints import no_model
from priorlang.training.evaluation import problems as evaluation_problems
from priorlang.training.files import check_files, missing_file
from priorlang.training.lineage import check_lineage
from priorlang.training.model_plan import COMPOSED_KEYS, ComposedPlan
from priorlang.training.plan import StagePlan, TrainingPlan
from priorlang.training.regularizer_checks import check_regularizers
from priorlang.training.upcycle_checks import problems
from priorlang.training.yaml_tree import Path, SourceTree

StagePath = Callable[..., Path]

_CONCERNED = ("top_k", "experts", "granularity", "method")
"""Keys of `upcycle` that say something where the key at fault has its default."""


def check_plan(
    plan: TrainingPlan, tree: SourceTree, stage_path: StagePath, *, allow_absent: bool = False
) -> Iterator[Finding]:
    """All findings beyond the types.

    Args:
        plan: what was read.
        tree: where it was read from.
        stage_path: `stage_path(index, *keys)` says where a stage's value stands.
        allow_absent: data and parts of a model may be missing where the file says what they are.
    """
    yield from _model(plan, tree)
    if plan.composed is not None:
        yield from _parts(plan.composed, tree, allow_absent)
        if plan.processor is not None:
            message = "a model from parts has their tokenizer and image processor: leave `processor` out"
            yield _error("invalid-value", message, tree, ("processor",))
    yield from _stage_names(plan, tree)
    yield from check_lineage(plan, tree)
    for index, stage in enumerate(plan.stages):

        def at(*keys: str | int, index: int = index) -> Path:
            return stage_path(index, *keys)

        yield from _experts(stage, tree, at)
        yield from _shaping(stage, tree, at)
        if stage.moe:
            yield from check_regularizers(plan, stage, tree, at)
        yield from _numerics(stage, tree, at)
        yield from _benchmarks(stage, tree, at)
        yield from _managed_arguments(stage, tree, at)
        yield from _data(stage, tree, at)
    yield from check_files(plan, tree, stage_path, allow_absent=allow_absent)


def check_sampling(
    plan: TrainingPlan, tree: SourceTree, stage_path: StagePath, asks: Callable[[StagePlan], bool]
) -> Iterator[Finding]:
    """`small-population` for each shaped stage whose samples are sorted by length; `asks`: its prior has attributes."""
    for index, stage in enumerate(plan.stages):
        name = grouping(stage.training_arguments.get)
        if name is None or not stage.shape or not asks(stage):
            continue
        for key in (name, STRATEGY):
            place = stage_path(index, "training_arguments", key)
            if place in tree.places:
                yield Finding(
                    "small-population", Severity.WARNING, grouping_message(name), tree.value_span(place)
                )
                break


STRATEGY = "train_sampling_strategy"
GROUPINGS = ("group_by_length", "group_by_modality_length")


def grouping(value_of: Callable[[str], object]) -> str | None:
    """How samples are sorted by length, if they are: `value_of` a name is one of transformers' training arguments."""
    for name in GROUPINGS:
        if value_of(name) or value_of(STRATEGY) == name:
            return name
    return None


def grouping_message(name: str) -> str:
    """What is wrong with a grouped sampler, and the fix: long sequences are those with images."""
    return (
        f"{name}: batches of one length are mostly of one modality, so most steps leave populations of the prior "
        "empty and do not shape them; leave it out, or pack sequences instead"
    )


def _model(plan: TrainingPlan, tree: SourceTree) -> Iterator[Finding]:
    if (plan.model is None) == (plan.model_name_or_path is None):
        if plan.model is None:
            yield no_model(tree)
        else:
            yield _error(
                "invalid-value", "`model` and `model_name_or_path` exclude each other", tree, ("model",)
            )
    if plan.scratch is not None and not plan.scratch.config.is_file():
        yield missing_file(plan.scratch.config, tree, ("model", "config"))
    for key, value in (("model_name_or_path", plan.model_name_or_path), ("processor", plan.processor)):
        if value is not None and FilePath(value).is_absolute() and not FilePath(value).exists():
            yield missing_file(FilePath(value), tree, (key,))


def _parts(model: ComposedPlan, tree: SourceTree, allow_absent: bool) -> Iterator[Finding]:
    """Folders that a composition names; hub names are looked up later."""
    for key in COMPOSED_KEYS:
        named = FilePath(getattr(model, key))
        config = None if model.configs is None else getattr(model.configs, key) / "config.json"
        if config is not None and not config.is_file():
            yield missing_file(config, tree, ("model", "configs", key))
        if named.is_absolute() and not named.exists() and not (allow_absent and config is not None):
            yield missing_file(named, tree, ("model", key), "folder")


def _stage_names(plan: TrainingPlan, tree: SourceTree) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for index, stage in enumerate(plan.stages):
        if stage.name in first:
            related = Related("the first one", tree.value_span(("stages", first[stage.name], "name")))
            yield Finding(
                "duplicate-name",
                Severity.ERROR,
                f"two stages are called `{stage.name}`; their names are folders of the run",
                tree.value_span(("stages", index, "name")),
                (related,),
            )
        first.setdefault(stage.name, index)


def _experts(stage: StagePlan, tree: SourceTree, at: StagePath) -> Iterator[Finding]:
    """Values of `upcycle` that no model could satisfy, at the first of the keys concerned that is written."""
    upcycle = stage.upcycle
    if upcycle is None:
        return
    for problem in problems(upcycle):
        near = (at("upcycle", key) for key in (problem.key, *_CONCERNED))
        place = next((path for path in near if path in tree.places), at("upcycle"))
        yield _error("invalid-value", problem.message(upcycle), tree, place)
    if upcycle.router_from is not None and not FilePath(upcycle.router_from).is_dir():
        yield missing_file(FilePath(upcycle.router_from), tree, at("upcycle", "router_from"), "folder")


def _benchmarks(stage: StagePlan, tree: SourceTree, at: StagePath) -> Iterator[Finding]:
    for position, entry in enumerate(stage.evaluate):
        for key, message in evaluation_problems(entry, held_out=bool(stage.eval_data)):
            own = at("evaluate", position, key)
            place = own if own in tree.places else at("evaluate", position)
            yield _error("missing-key" if key == "tasks" else "invalid-value", message, tree, place)
    if stage.evaluate and stage.objective == "image-labels":
        message = (
            "`objective: image-labels` trains the vision tower alone: there is nothing to ask the model yet"
        )
        yield _error("invalid-value", message, tree, at("evaluate"))


def _carrying(stage: StagePlan, tree: SourceTree, at: Callable[..., Path]) -> Iterator[Finding]:
    """Only histograms of the global scope can be carried from one forward pass to another."""
    if stage.scope == "micro":
        for key, asked in (("cdf_steps", stage.cdf_steps > 1), ("look_ahead", stage.look_ahead)):
            if asked:
                message = f"`{key}` has no use under `scope: micro`, where every forward pass stands alone"
                yield _error("invalid-value", message, tree, at(key))
        return
    if stage.ranks == "sort" and (stage.cdf_window > 1 or stage.look_ahead):
        yield _error(
            "invalid-value",
            f"stage `{stage.name}` takes {stage.cdf_window} forward passes into one CDF, and exact ranks cannot be "
            "carried from one to the next: say `ranks: histogram`, or `scope: micro` for a CDF of each alone",
            tree,
            at("ranks"),
        )


def _shaping(stage: StagePlan, tree: SourceTree, at: StagePath) -> Iterator[Finding]:
    if stage.shape and stage.prior is None:
        yield _error(
            "missing-key",
            f"stage `{stage.name}` shapes, but there is no `prior:` to shape by",
            tree,
            at("shape"),
        )
    if stage.shape and not stage.moe:
        yield _error(
            "invalid-value", f"stage `{stage.name}` shapes routers, but says `moe: false`", tree, at("shape")
        )
    if stage.shape:
        yield from _carrying(stage, tree, at)
    if stage.regularizers and not stage.moe and at("regularizers")[0] == "stages":
        yield _error(
            "invalid-value",
            f"stage `{stage.name}` is dense: there is no router to regularize",
            tree,
            at("regularizers"),
        )
    if stage.objective == "image-labels" and stage.moe:
        yield _error(
            "invalid-value",
            "`objective: image-labels` trains the vision tower alone: leave out `moe`",
            tree,
            at("objective"),
        )


def _numerics(stage: StagePlan, tree: SourceTree, at: StagePath) -> Iterator[Finding]:
    if stage.bf16 and stage.fp16:
        yield _error("invalid-value", "`bf16` and `fp16` exclude each other", tree, at("fp16"))
    if stage.router_learning_rate is not None and "optimizer" in stage.deepspeed:
        message = (
            "`router_learning_rate` needs the optimizer of `optim`: leave `optimizer` out of `deepspeed`"
        )
        yield _error("invalid-value", message, tree, at("router_learning_rate"))


def _managed_arguments(stage: StagePlan, tree: SourceTree, at: StagePath) -> Iterator[Finding]:
    """`training_arguments` is for what the file has no key for."""
    own = {*StagePlan.model_fields, *TrainingPlan.model_fields}
    for key in stage.training_arguments:
        if key in own:
            message = f"`{key}` is a key of the training file itself: move it out of `training_arguments`"
            yield _error("invalid-value", message, tree, at("training_arguments", key))


def _data(stage: StagePlan, tree: SourceTree, at: StagePath) -> Iterator[Finding]:
    if not stage.data:
        message = f"stage `{stage.name}` has no `data:` to learn from"
        yield _error("missing-key", message, tree, at("data") if at("data") in tree.places else at())


def _error(name: str, message: str, tree: SourceTree, path: Path) -> Finding:
    return Finding(name, Severity.ERROR, message, tree.value_span(path))
