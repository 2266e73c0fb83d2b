"""The page's chapter on the stages: what each trained, and the loss over all of them."""

from __future__ import annotations

import math

from dpsl.report.figures.training import loss_figure
from dpsl.report.read import StageRecord, number
from dpsl.report.words import experts_of, state_of_stage
from priorlang.pages.html import MISSING, Markup, compact, figure, fixed, section, table


def stages_part(stages: tuple[StageRecord, ...]) -> Markup:
    """Every stage, begun or not."""
    rows = [
        [
            stage.name,
            ", ".join(str(part) for part in stage.settings.get("train", ())) or MISSING,
            experts_of(stage),
            state_of_stage(stage),
            f"{stage.steps:,}",
            _rate(stage),
            fixed(stage.last_loss, 3),
        ]
        for stage in stages
    ]
    header = ["stage", "trains", "layers", "state", "steps", "learning rate", "last loss"]
    caption = (
        f"Training loss as it was reported, the mean of the steps since the last report{_held_out(stages)}. Stages with different data or objectives have losses of their own kind. Shaded: the prior "
        "shaped the routers."
    )
    return section("Stages", table(header, rows, texts=4), figure(loss_figure(stages), caption))


def _held_out(stages: tuple[StageRecord, ...]) -> str:
    losses = [number(row, "eval_loss") for stage in stages for row in stage.evaluations]
    return "; circles are the loss on held-out data" if any(map(math.isfinite, losses)) else ""


def _rate(stage: StageRecord) -> str:
    rate, router = number(stage.settings, "learning_rate"), number(stage.settings, "router_learning_rate")
    return compact(rate) if math.isnan(router) else f"{compact(rate)}, routers {compact(router)}"
