"""What the numbers say, in sentences that claim no more than they do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from dpsl.report.accuracy import HeldOut, Move, moves
from dpsl.report.read import RunRecord, StageRecord
from dpsl.report.routing import KindRouting, MeasuredStage, kind_routing

ATTAINED = (
    "Attained is not the same as correct: these numbers say how closely the router distributes tokens as the prior "
    "asks, not that the model is better for it. That is for held-out answers to say."
)
KS_MEANING = (
    "KS is the largest distance between the cumulative distribution of the scores and the prior's: 0 where they "
    "are the same, 1 where they have nothing in common."
)
TRAINED_ON = "tokens of the first records trained on, as none are held out"
SAME_MASS = (
    "The mass on the preferred experts can be right while the scores are not spread as asked: look at both."
)


def state_of(run: RunRecord) -> str:
    """How far the run has come, in a line."""
    total, done = len(run.stages), sum(stage.done for stage in run.stages)
    steps = sum(stage.steps for stage in run.stages)
    stages = f"{total} stage{'s' if total != 1 else ''}"
    if run.finished:
        return f"Finished: {stages}, {steps:,} optimizer steps."
    now = next((stage for stage in run.stages if not stage.done), None)
    where = f"; stage {now.name} is at step {now.steps:,}" if now is not None and now.steps else ""
    return f"Not finished: {done} of {stages} complete{where}. This page shows what there is so far."


def findings(run: RunRecord, sets: Sequence[HeldOut], measured: Sequence[MeasuredStage]) -> list[str]:
    """The first things to know about a run."""
    return [
        *_routing(measured),
        *(_move(move) for held_out in sets for move in moves(held_out)),
        *_absences(run),
    ]


def state_of_stage(stage: StageRecord) -> str:
    """What became of a stage."""
    if stage.done:
        return "done"
    return "not finished" if stage.steps else "not begun"


def experts_of(stage: StageRecord) -> str:
    """What a stage does about experts."""
    if not stage.moe:
        return "dense"
    return "experts, shaped" if stage.shaped else "experts, unshaped"


def tokens_of(stages: Iterable[StageRecord]) -> str:
    """What the tokens are whose routing was measured: held out, trained on, or either."""
    held_out = {stage.held_out for stage in stages}
    return "held-out tokens" if held_out == {True} else "training tokens" if held_out == {False} else "tokens"


def _routing(measured: Sequence[MeasuredStage]) -> list[str]:
    sentences = []
    for stage in measured:
        how = "shaped by the prior" if stage.record.shaped else "not shaped"
        facts = [fact for kind in kind_routing(stage.groups) if (fact := _kind(kind))]
        if stage.record.held_out is False:
            how += f"; {TRAINED_ON}"
        if facts:
            sentences.append(f"After {stage.name} ({how}): {'; '.join(facts)}.")
    return sentences


def _kind(kind: KindRouting) -> str:
    if not math.isfinite(kind.ks):
        return ""
    mass = (
        f"{kind.attained:.3f} of their probability on their preferred experts (asked: {kind.asked:.3f}), "
        if math.isfinite(kind.asked)
        else ""
    )
    whose = kind.kind if kind.kind.endswith(" tokens") else f"{kind.kind} tokens"
    return f"{whose} have {mass}KS at most {kind.ks:.2f}"


def _move(move: Move) -> str:
    if abs(move.points) < 0.05:
        change = "Accuracy on held-out questions did not move"
    else:
        points = f"{move.points:+.1f}".replace("-", "−")
        change = f"Accuracy on held-out questions moved by {points} points"
    sentence = f"{change} between {move.before} and {move.after}"
    if not math.isfinite(move.standard_error):
        return f"{sentence}; how many questions there were is not recorded, so neither is how sure that is."
    known = f"standard error about {move.standard_error:.1f} points, from {move.count:,} questions"
    verdict = (
        "which is more than twice that, so hardly chance alone"
        if abs(move.points) > 2 * move.standard_error
        else "so chance alone may have done that"
        if abs(move.points) >= 0.05
        else "so a difference below that would not show"
    )
    return f"{sentence} ({known}), {verdict}."


def _absences(run: RunRecord) -> list[str]:
    """What a reader may look for and does not find."""
    sentences = []
    with_experts = [stage for stage in run.stages if stage.moe]
    if not with_experts:
        sentences.append("No stage of this run has experts, so there is no routing to show.")
    elif run.table is None:
        sentences.append(
            "This run has no prior, so its routers were left to themselves and were not measured."
        )
    elif not any(stage.shaped for stage in with_experts):
        sentences.append(
            "No stage of this run was shaped: the prior is only what its routing is compared with."
        )
    for stage in with_experts:
        if stage.done and stage.routing is None and run.table is not None:
            sentences.append(f"No routing of tokens after {stage.name} was kept.")
        if stage.routing is not None and not stage.shaped and any(s.shaped for s in with_experts):
            sentences.append(
                f"{stage.name} was not shaped: where its routing follows the prior, it keeps what an earlier stage taught."
            )
    return sentences
