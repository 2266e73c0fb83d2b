"""One stage: from the model of the stage before to the model it leaves."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from dpsl.attaching import attach
from dpsl.audit import audit_lines
from dpsl.regularizers import Regularizers, attach_regularizers
from dpsl.samples import TokenSampler, sampling
from dpsl.text_table import number
from dpsl.train.arguments import training_arguments, zero_stage
from dpsl.train.callbacks import EvaluationCallback, FlowCallback, ProgressCallback
from dpsl.train.console import Console
from dpsl.train.described import in_evaluation
from dpsl.train.image_labels import ImageLabelModel
from dpsl.train.image_parts import run_image_parts_always
from dpsl.train.models import save_stage_model, vision_tower
from dpsl.train.parts import router_parameters, train_only
from dpsl.train.processes import first_on_main, rank
from dpsl.train.run_folder import RunFolder, replacing, write_json, write_text
from dpsl.train.stage_data import IMAGE_LABELS, SAMPLED, DataRoom, StageData
from dpsl.train.trackers import stages_apart
from dpsl.train.trainer import StageTrainer
from dpsl.train.window import restore_window
from dpsl.upcycle import upcycle
from priorlang.table.prior_table import PriorTable
from priorlang.training.lineage import is_folder
from priorlang.training.plan import StagePlan


@dataclass(frozen=True)
class StageInput:
    """What a stage is given.

    Attributes:
        run: the run's folder.
        plan: the stage's settings.
        data: where the stage's data comes from.
        table: the prior, or None.
        shaped_before: shaped steps of the stages before.
        shaped_total: shaped steps of the run.
    """

    run: RunFolder
    plan: StagePlan
    data: DataRoom
    table: PriorTable | None
    shaped_before: int
    shaped_total: int


def run_stage(given: StageInput, model: nn.Module, console: Console) -> dict[str, float]:
    """Train a stage to its end, or from its last checkpoint to its end; measure it and keep its model.

    Args:
        given: the stage.
        model: what it starts from, with dense layers or with experts.
        console: says how it goes.

    Returns:
        The held-out metrics at the end.

    Raises:
        DpslError: anything the user can mend.
    """
    stage, folder = given.plan, given.run.stage(given.plan.name)
    if stage.moe:
        grow_experts(model, stage, given.run, console)
    train_only(model, stage.train)
    data = given.data.load(stage, given.table if stage.moe else None)
    shaper = _attach(model, given)
    regularizers = _regularize(model, given)
    image_parts = run_image_parts_always(model)
    trainer = _trainer(given, model, data, shaper, regularizers, console)
    started = time.perf_counter()
    checkpoints = folder.checkpoints()
    checkpoint = folder.checkpoint(checkpoints[-1]) if checkpoints else None
    if checkpoint is not None and stage.shape and shaper is not None:
        restore_window(shaper, checkpoint)
    with stages_apart(trainer, given.run, stage.name, checkpoints[-1] if checkpoints else 0):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
        seconds = time.perf_counter() - started
        state = trainer.gathered_state()
        first_on_main(lambda: save_stage_model(folder.model, model, given.data.processor, state))
        metrics = _measure(given, trainer, data, shaper, regularizers, console)
    steps = trainer.state.global_step
    first_on_main(lambda: folder.mark_done({"stage": stage.name, "steps": steps, "metrics": metrics}))
    console.line(f"{stage.name}: {steps} steps in {seconds:.1f} s")
    for attached in (shaper, regularizers, image_parts):
        if attached is not None:
            attached.detach()
    _release(trainer)
    return metrics


def grow_experts(model: nn.Module, stage: StagePlan, run: RunFolder, console: Console) -> None:
    """Upcycle, unless the model has its experts already, and keep the receipt."""
    if stage.upcycle is None or router_parameters(model):
        return
    options = stage.upcycle.model_dump()
    branches = [name if is_folder(name) else run.stage(name).model for name in stage.upcycle.branches]
    receipt = upcycle(model, **{**options, "branches": branches})
    first_on_main(lambda: write_text(run.stage(stage.name).receipt, receipt.to_json()))
    for line in receipt.lines():
        console.line(line)


def learning_model(model: nn.Module, stage: StagePlan, data: StageData) -> nn.Module:
    """What the stage's objective trains: the model itself, or its tower with heads for the labels."""
    if stage.objective != IMAGE_LABELS:
        return model
    layer = getattr(getattr(model, "config", None), "vision_feature_layer", -1)
    with torch.random.fork_rng():
        torch.manual_seed(stage.seed)
        return ImageLabelModel(vision_tower(model), data.train.classes, layer)


def _attach(model: nn.Module, given: StageInput) -> Any:
    stage = given.plan
    if not stage.moe or given.table is None:
        return None
    if zero_stage(stage) == 3:
        from dpsl.routers.zero3 import set_leaf_modules

        set_leaf_modules(model)
    return attach(
        model,
        given.table,
        ranks=stage.ranks,
        scope=stage.scope,
        window=stage.cdf_window if stage.shape else 1,
        target=stage.target,
        min_population=stage.min_population,
        shaping=stage.shape,
    )


def _regularize(model: nn.Module, given: StageInput) -> Regularizers | None:
    stage = given.plan
    if not stage.moe or not stage.regularizers:
        return None
    attributes = given.table.header.attributes if given.table is not None else ()
    return attach_regularizers(model, stage.regularizers, attributes=attributes)


def _trainer(
    given: StageInput,
    model: nn.Module,
    data: StageData,
    shaper: Any,
    regularizers: Regularizers | None,
    console: Console,
) -> StageTrainer:
    stage, folder = given.plan, given.run.stage(given.plan.name)

    def on_row(row: dict[str, Any]) -> None:
        _record(given, row)
        console.row(row)

    def on_audit(result: dict[str, Any]) -> None:
        first_on_main(lambda: _save_audit(given, {"stage": stage.name, **result}))
        for line in audit_lines(result):
            console.line(line)

    trainer = StageTrainer(
        folder=folder,
        shaper=shaper,
        regularizers=regularizers,
        shaped_before=given.shaped_before,
        shaped_total=given.shaped_total,
        routers=router_parameters(model),
        router_learning_rate=stage.router_learning_rate if stage.moe else None,
        keep=stage.save_total_limit,
        look_ahead=shaper if stage.shape and stage.look_ahead else None,
        on_row=on_row,
        on_audit=on_audit,
        model=learning_model(model, stage, data),
        args=training_arguments(stage, folder.path),
        train_dataset=data.train,
        data_collator=data.collate,
        callbacks=[FlowCallback(), ProgressCallback(console, stage.name)],
    )
    if stage.eval_steps is not None and data.held_out:
        evaluate = partial(_evaluate, given, trainer, data, regularizers)
        trainer.add_callback(EvaluationCallback(stage.eval_steps, evaluate))
    return trainer


def _save_audit(given: StageInput, result: dict[str, Any]) -> None:
    """The run's audit is that of its shaped stage; each audited stage keeps its own."""
    write_json(given.run.stage(given.plan.name).audit, result)
    if given.plan.shape or not given.run.audit.is_file():
        write_json(given.run.audit, result)


def _evaluate(
    given: StageInput, trainer: StageTrainer, data: StageData, regularizers: Regularizers | None, step: int
) -> dict[str, float]:
    metrics = data.evaluate(trainer.model, in_evaluation(None, regularizers))
    _record_held_out(given, trainer, metrics)
    return metrics


def _measure(
    given: StageInput,
    trainer: StageTrainer,
    data: StageData,
    shaper: Any,
    regularizers: Regularizers | None,
    console: Console,
) -> dict[str, float]:
    """Held-out metrics at the end of the stage, and the routing of the held-out tokens, or of some it was trained on."""
    if shaper is not None:
        shaper.reset_statistics()
    if not data.held_out:
        if shaper is not None and data.look is not None:
            with sampling(trainer.model, shaper) as sampler:
                data.look(trainer.model, in_evaluation(shaper, regularizers))
            _save_routing(given, shaper, sampler)
            some = min(SAMPLED, len(data.train))
            console.line(
                f"{given.plan.name}: routing of the first {some} training records, as none are held out"
            )
        return {}
    with sampling(trainer.model, shaper) as sampler:
        metrics = data.evaluate(trainer.model, in_evaluation(shaper, regularizers))
    _record_held_out(given, trainer, metrics)
    console.line(
        f"{given.plan.name}, held out: "
        + ", ".join(
            f"{name.removeprefix('eval_')} {number(value)}"
            for name, value in metrics.items()
            if not name.endswith("_count")
        )
    )
    _save_routing(given, shaper, sampler)
    return metrics


def _save_routing(given: StageInput, shaper: Any, sampler: TokenSampler | None) -> None:
    if shaper is None or sampler is None:
        return
    statistics, folder = shaper.statistics(), given.run.stage(given.plan.name)

    def save() -> None:
        for place in (folder.routing, given.run.routing):
            with replacing(place) as beside:
                statistics.save(beside)
        with replacing(folder.samples) as beside:
            sampler.taken().save(beside)

    first_on_main(save)


def _record_held_out(given: StageInput, trainer: StageTrainer, metrics: dict[str, float]) -> None:
    """Into the run's rows, and to whatever `report_to` names."""
    _record(given, {"step": trainer.state.global_step, **metrics})
    trainer.log(dict(metrics))


def _record(given: StageInput, row: dict[str, Any]) -> None:
    if rank() == 0:
        given.run.append_metrics({"stage": given.plan.name, **row})


def _release(trainer: StageTrainer) -> None:
    """Let the next stage configure DeepSpeed anew."""
    from accelerate.state import AcceleratorState

    trainer.deepspeed.destroy()
    trainer.accelerator.free_memory()
    AcceleratorState._reset_state(reset_partial_state=True)
