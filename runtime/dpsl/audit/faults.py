"""What can be wrong with a micro-step: some stops the run, some is only said."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dpsl.audit.tokens import TokenCounts
from dpsl.errors import DpslError
from dpsl.routers.found import FoundRouter
from dpsl.shaper import Shaper


class AuditError(DpslError):
    """A router would not learn."""


@dataclass(frozen=True, eq=False)
class RouterSight:
    """One router in the micro-step.

    Attributes:
        router: it.
        ran: its forward was called.
        differentiable: its logits required a gradient.
        gradient: norm of what came from the task and from each term.
    """

    router: FoundRouter
    ran: bool
    differentiable: bool
    gradient: Mapping[str, float]


def refuse_faults(
    sights: Sequence[RouterSight], tokens: TokenCounts, shaper: Shaper | None, active: Collection[str]
) -> None:
    """Stop what would train wrongly without a word.

    Args:
        sights: the routers.
        tokens: of the micro-step.
        shaper: of the prior, or None.
        active: names of the regularizers that have a gradient and whose schedule has begun.

    Raises:
        AuditError: a router gets no gradient, a term reaches none, or padding counts.
    """
    if tokens.masked:
        raise AuditError(
            "shaper.tokens(mask=…)",
            f"{tokens.masked:,} tokens that are padding to the model count to the shaper: they would be shaped",
            'pass the same mask: shaper.tokens(mask=batch["attention_mask"], …)',
        )
    for sight in sights:
        _refuse_dead_router(sight)
    if shaper is not None and shaper.shapes and shaper.schedule_factor() != 0:
        for sight in sights:
            if tokens.shaped.get(sight.router.layer) and sight.gradient["dpsl"] == 0.0:
                raise AuditError(
                    sight.router.place,
                    "its tokens have priors, and no shaping gradient arrives at it",
                    "check that the loss whose backward ran is the model's own, or the one given to "
                    "shaper.scale_with",
                )
    for name in active:
        if all(sight.gradient[name] == 0.0 for sight in sights):
            raise AuditError(
                f"regularizers: {name}",
                "its gradient arrives at no router",
                "check its coefficient and its layers, and that the mask leaves it tokens",
            )


def warnings_of(
    shaper: Shaper | None, found: Mapping[str, Any], tokens: TokenCounts, blocks: Sequence[str]
) -> list[dict[str, str]]:
    """What is odd, and may be meant."""
    said: list[dict[str, str]] = []
    for name, what in (("scale", "the prior"), ("regularizer_scale", "a regularizer")):
        scale = found.get(name)
        if scale and abs(scale - 1) > _TOLERANCE:
            said.append(
                {
                    "place": "loss",
                    "message": f"an optimizer step counts {what} {scale:.4g} times",
                    "fix": "divide the loss by the accumulation steps, as the trainer or engine does, and tell the audit "
                    "how many there are",
                }
            )
    for block in blocks:
        said.append(
            {
                "place": block,
                "message": "it holds experts, and no router of it was found: nothing shapes it",
                "fix": "name its router: dpsl.attach(model, table, routers=[…])",
            }
        )
    if shaper is not None and shaper.shapes:
        empty = [population["name"] for population in tokens.populations if not population["tokens"]]
        if empty:
            first = f"{empty[0]} and {len(empty) - 1} more" if len(empty) > 1 else empty[0]
            said.append(
                {
                    "place": "populations",
                    "message": f"no token of {first} in this micro-step",
                    "fix": "if that is not chance, look at the data's attributes and at what orders the batches",
                }
            )
    return said


_TOLERANCE = 0.01


def _refuse_dead_router(sight: RouterSight) -> None:
    router = sight.router
    if not sight.ran:
        raise AuditError(
            router.place,
            "its forward was never called in the micro-step, so no hook can reach it",
            "a model that uses a router's weight alone needs the module around it: name that in routers=",
        )
    if not any(parameter.requires_grad for parameter in router.module.parameters()):
        raise AuditError(
            router.place,
            "this router is frozen, so nothing can move it",
            "let it learn: requires_grad_(True) on its module, or `routers` among `train:` of a training file",
        )
    if not sight.differentiable:
        raise AuditError(
            router.place,
            "its logits carry no gradient",
            "look for a detach or a torch.no_grad around it, and for reentrant checkpointing without "
            "enable_input_require_grads",
        )
    if sum(sight.gradient.values()) == 0.0:
        raise AuditError(
            router.place,
            "no gradient arrives at this router",
            "check that its output is used, and that the prior shapes tokens which the data has",
        )
