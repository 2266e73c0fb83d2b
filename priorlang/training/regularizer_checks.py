"""What a regularizer may still get wrong: against the stage's prior, and against the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from priorlang.diagnostics.finding import Edit, Finding, Fix, PriorError, Severity
from priorlang.diagnostics.suggest import closest, listing
from priorlang.training.model import model_of
from priorlang.training.plan import StagePlan, TrainingPlan
from priorlang.training.regularizers import LoadBalance, ManualModality
from priorlang.training.yaml_tree import Path, SourceTree


def check_regularizers(
    plan: TrainingPlan, stage: StagePlan, tree: SourceTree, at: Callable[..., Path]
) -> Iterator[Finding]:
    """Everything about a stage's regularizers beyond their types. `at(*keys)` says where its values stand."""
    for place, regularizer in enumerate(stage.regularizers):
        own = at("regularizers", place) if at("regularizers", place) in tree.places else at("regularizers")
        if isinstance(regularizer, LoadBalance):
            yield from _reference(plan, stage, regularizer, tree, own)
        if isinstance(regularizer, ManualModality):
            yield from _members(stage, regularizer, tree, own)
            yield from _experts(plan, stage, regularizer, tree, own)


def _reference(
    plan: TrainingPlan, stage: StagePlan, regularizer: LoadBalance, tree: SourceTree, own: Path
) -> Iterator[Finding]:
    top_k = _model_number(plan, stage, "top_k")
    if regularizer.reference == "switch" and top_k not in (None, 1):
        message = (
            f"`reference: switch` is defined for one expert a token, and the model has {top_k}: leave it out, "
            "the normalised loss is the same for one and defined for more"
        )
        yield _error(message, tree, (*own, "reference"))


def _members(stage: StagePlan, regularizer: ManualModality, tree: SourceTree, own: Path) -> Iterator[Finding]:
    """The attribute and its members are those of the stage's prior."""
    if stage.prior is None:
        message = "`manual_modality` needs a `prior:`, whose attributes tell tokens apart"
        yield Finding("missing-key", Severity.ERROR, message, tree.value_span(own))
        return
    attributes = _attributes(stage)
    if attributes is None:
        return
    if regularizer.attribute not in attributes:
        yield _unknown("attribute", regularizer.attribute, attributes, tree, (*own, "attribute"))
        return
    members = attributes[regularizer.attribute]
    for member in regularizer.allow:
        if member not in members:
            path = (*own, "allow", member)
            yield _unknown(f"member of `{regularizer.attribute}`", member, members, tree, path, key=True)


def _experts(
    plan: TrainingPlan, stage: StagePlan, regularizer: ManualModality, tree: SourceTree, own: Path
) -> Iterator[Finding]:
    """Experts that are there, and enough of them for a token to choose from."""
    experts, top_k = (_model_number(plan, stage, key) for key in ("experts", "top_k"))
    for member, allowed in regularizer.allow.items():
        path = (*own, "allow", member)
        if len(set(allowed)) < len(allowed):
            yield _error(f"`{member}` names an expert twice", tree, path)
        elif experts is not None and max(allowed, default=0) >= experts:
            message = f"there is no expert {max(allowed)}: they are numbered 0 to {experts - 1}"
            yield _error(message, tree, path)
        elif len(allowed) < (top_k or 1):
            message = (
                f"`{member}` may use {len(allowed)} expert(s), and a token goes to {top_k or 1}: allow more"
            )
            yield _error(message, tree, path)


def _attributes(stage: StagePlan) -> Mapping[str, tuple[str, ...]] | None:
    """The prior's attributes with their members and groups; None where it cannot be read, which is told elsewhere."""
    from priorlang.phases import Prior

    assert stage.prior is not None
    try:
        spec = Prior.read(stage.prior).spec
    except PriorError:
        return None
    return {attribute.name: tuple(attribute.codes) for attribute in spec.attributes}


def _model_number(plan: TrainingPlan, stage: StagePlan, key: str) -> int | None:
    model = model_of(plan, stage)
    return model.number(key) if model is not None else None


def _unknown(
    what: str, name: str, known: Mapping[str, object] | tuple[str, ...], tree: SourceTree, path: Path,
    *, key: bool = False,
) -> Finding:  # fmt: skip
    span = tree.key_span(path) if key else tree.value_span(path)
    guess = closest(name, known)
    hint = f"did you mean `{guess}`?" if guess else f"there are {listing(known) or 'none'}"
    fix = Fix(f"write `{guess}`", (Edit(span, guess),)) if guess else None
    return Finding("unknown-name", Severity.ERROR, f"no {what} is `{name}`; {hint}", span, fix=fix)


def _error(message: str, tree: SourceTree, path: Path) -> Finding:
    return Finding("invalid-value", Severity.ERROR, message, tree.value_span(path))
