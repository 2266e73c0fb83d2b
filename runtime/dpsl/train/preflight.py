"""Everything that can be known before the first step: model, parts, routers, data, settings, arithmetic.

The model is built on the meta device, so a preflight costs neither its memory nor its weights' loading.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from dpsl.errors import DpslError
from dpsl.routers.find import find_routers
from dpsl.shaping.matching import match_routers
from dpsl.train.arguments import deepspeed_config, planned_steps, training_arguments, zero_stage
from dpsl.train.data import count_tokens
from dpsl.train.data.progress import Tell, silent
from dpsl.train.deepspeed_check import check_deepspeed
from dpsl.train.forecast import (
    DataForecast,
    StageForecast,
    census_of,
    data_forecast,
    memory_per_rank,
    resolved_deepspeed,
)
from dpsl.train.forecast.tokens import absent_sources
from dpsl.train.models import load_processor, vision_tower
from dpsl.train.parts import router_parameters, train_only
from dpsl.train.skeleton import Absent, absent_parts, skeleton
from dpsl.train.stage_data import IMAGE_LABELS, DataRoom
from dpsl.upcycle.decoder import dense_ffns
from dpsl.upcycle.ffn import width_of
from dpsl.upcycle.modeling_upcycled import put_blocks
from dpsl.upcycle.plan import UpcyclePlan, resolved
from dpsl.upcycle.router_copies import copied_routers
from priorlang.table.prior_table import PriorTable
from priorlang.training.lineage import origin_of
from priorlang.training.plan import StagePlan, TrainingPlan
from priorlang.training.upcycle import UpcyclePlan as UpcycleSettings


@dataclass(frozen=True)
class Preflight:
    """What was found.

    Attributes:
        stages: what each will do.
        room: the data that was read on the way; None where it could not be.
        absent: what is missing for a real run, in words.
    """

    stages: tuple[StageForecast, ...]
    room: DataRoom | None
    absent: tuple[str, ...] = ()


def preflight(
    plan: TrainingPlan,
    tables: Mapping[Path, PriorTable],
    processes: int,
    scratch: Path,
    *,
    allow_absent: bool = False,
    tell: Tell = silent,
) -> Preflight:
    """Check a plan against its model and its data.

    Args:
        plan: the resolved training file.
        tables: the compiled prior of each prior file that it names.
        processes: ranks that will train.
        scratch: a folder that transformers may name in its arguments; nothing is written to it.
        allow_absent: for a dry run: weights and data may be missing where the file says what they are.
        tell: hears how far reading the data is.

    Raises:
        DpslError: the first thing that would stop training.
    """
    check_deepspeed(plan.stages)
    parts = absent_parts(plan) if allow_absent else Absent()
    processor = None if parts.processor else load_processor(plan)
    room = None if processor is None else DataRoom(processor, verify_images=True, tell=tell)
    initial = skeleton(plan, processor, allow_absent=allow_absent)
    skeletons: dict[str, nn.Module] = {}
    forecasts = []
    for index, stage in enumerate(plan.stages):
        origin = origin_of(plan, index)
        model = skeletons[origin.name] if origin is not None else initial
        table = tables[stage.prior] if stage.prior is not None and stage.moe else None
        if stage.moe and stage.upcycle is not None and not router_parameters(model):
            model = copy.deepcopy(model)
            _grow_skeleton(model, stage.upcycle)
        skeletons[stage.name] = model
        if table is not None:
            match_routers(model, find_routers(model), table)
        learning = _learning(model, stage)
        data = _data(stage, table, room, model)
        forecasts.append(_forecast(stage, model, learning, data, table, processes, scratch))
    sources = [str(source.path) for source in absent_sources(plan.stages)] if allow_absent else []
    return Preflight(tuple(forecasts), room, (*parts.lines, *sources))


def _grow_skeleton(model: nn.Module, upcycle: UpcycleSettings) -> None:
    """Put the blocks in place that the upcycler would fill."""
    ffns = dense_ffns(model)
    widths = {index: width_of(ffn) for index, ffn in ffns.items()}
    plan = resolved(UpcyclePlan(**upcycle.model_dump()), widths)
    if plan.router_from is not None:
        copied_routers(plan.router_from, plan, ffns)
    put_blocks(model, plan.to_config())


def _learning(model: nn.Module, stage: StagePlan) -> frozenset[str]:
    """The names of the parameters that the stage's objective reaches and `train` lets learn."""
    names = train_only(model, stage.train)
    if stage.objective != IMAGE_LABELS:
        return names
    tower = {id(parameter) for parameter in vision_tower(model).parameters()}
    learning = frozenset(
        n for n, parameter in model.named_parameters() if n in names and id(parameter) in tower
    )
    if not learning:
        raise DpslError(
            f"stage {stage.name}",
            f"its objective trains the vision tower, but `train` names {len(names)} other parameters",
            "write `train: [vision_tower]`",
        )
    return learning


def _data(stage: StagePlan, table: PriorTable | None, room: DataRoom | None, model: Any) -> DataForecast:
    """What the data holds: read, or by the word of the training file where that is all there is."""
    if room is None or any(True for _ in absent_sources([stage])):
        return data_forecast(stage, table, int(getattr(model.config, "image_seq_length", 0)))
    data = room.load(stage, table)
    data.collate([data.train[0]])
    if table is None:
        return DataForecast(len(data.train))
    tokens_C = count_tokens(data.train, table).astype(np.float64)
    return DataForecast(len(data.train), tokens_C, np.ones(table.class_count, np.bool_))


def _forecast(
    stage: StagePlan,
    model: nn.Module,
    learning: frozenset[str],
    data: DataForecast,
    table: PriorTable | None,
    processes: int,
    scratch: Path,
) -> StageForecast:
    arguments = training_arguments(stage, scratch)
    census = census_of(model, learning)
    batch = stage.per_device_train_batch_size * stage.gradient_accumulation_steps * processes
    steps = planned_steps(stage, data.samples, processes)
    shaping = table if stage.shape else None
    as_given = stage.model_copy(update={"deepspeed": deepspeed_config(stage)})
    return StageForecast(
        name=stage.name,
        census=census,
        memory=memory_per_rank(census.whole.total, census.whole.learning, as_given, processes),
        zero=zero_stage(stage),
        samples=data.samples,
        batch=batch,
        steps=steps,
        warmup=arguments.get_warmup_steps(steps),
        learning_rate=stage.learning_rate,
        tokens=data.populations(shaping) if shaping is not None else {},
        weights=tuple(sorted(set(shaping.weight.tolist()))) if shaping is not None else (),
        deepspeed=resolved_deepspeed(stage, arguments, model, batch, steps),
    )
