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
import torch
from torch import nn

from dpsl.errors import DpslError
from dpsl.routers.find import find_routers
from dpsl.shaping.matching import match_routers
from dpsl.text_table import format_table, number
from dpsl.train.arguments import planned_steps, training_arguments
from dpsl.train.data import count_tokens
from dpsl.train.models import ModelError, class_and_config, load_processor, vision_tower
from dpsl.train.parts import router_parameters, train_only
from dpsl.train.stage_data import IMAGE_LABELS, DataRoom, StageData
from dpsl.upcycle.decoder import dense_ffns
from dpsl.upcycle.ffn import width_of
from dpsl.upcycle.modeling_upcycled import put_blocks
from dpsl.upcycle.plan import UpcyclePlan, resolved
from dpsl.upcycle.router_copies import copied_routers
from priorlang.table.prior_table import UNSHAPED, PriorTable
from priorlang.training.lineage import origin_of
from priorlang.training.plan import StagePlan, TrainingPlan

WEIGHTS = ("*.safetensors", "*.bin", "*.index.json")


@dataclass(frozen=True)
class StageForecast:
    """What a stage will do.

    Attributes:
        name: of the stage.
        parameters: of the model.
        learning: of them, how many learn.
        samples: records to learn from.
        batch: samples in an optimizer step, over all processes.
        steps: optimizer steps.
        tokens: population → tokens in one pass over the data; empty where nothing is shaped.
        weights: the distinct λ that shape it.
    """

    name: str
    parameters: int
    learning: int
    samples: int
    batch: int
    steps: int
    tokens: Mapping[str, int]
    weights: tuple[float, ...]


def preflight(
    plan: TrainingPlan, tables: Mapping[Path, PriorTable], processes: int, scratch: Path
) -> tuple[list[StageForecast], DataRoom]:
    """Check a plan against its model and its data.

    Args:
        plan: the resolved training file.
        tables: the compiled prior of each prior file that it names.
        processes: ranks that will train.
        scratch: a folder that transformers may name in its arguments; nothing is written to it.

    Returns:
        What each stage will do, and the data that was read on the way.

    Raises:
        DpslError: the first thing that would stop training.
    """
    processor = load_processor(plan.processor_source)
    room = DataRoom(processor, verify_images=True)
    initial = _skeleton(plan)
    skeletons: dict[str, nn.Module] = {}
    forecasts = []
    for index, stage in enumerate(plan.stages):
        origin = origin_of(plan, index)
        model = copy.deepcopy(skeletons[origin.name] if origin is not None else initial)
        skeletons[stage.name] = model
        table = tables[stage.prior] if stage.prior is not None and stage.moe else None
        if stage.moe:
            _grow_skeleton(model, stage)
        if table is not None:
            match_routers(model, find_routers(model), table)
        learning = _learning(model, stage)
        data = room.load(stage, table)
        data.collate([data.train[0]])
        training_arguments(stage, scratch)
        forecasts.append(_forecast(stage, model, learning, data, table, processes))
    return forecasts, room


def describe(forecasts: list[StageForecast]) -> list[str]:
    """The forecast as lines: a table of stages, then the populations of the shaped ones."""
    header = ["stage", "learning", "of", "samples", "batch", "steps", "shaped weight"]
    rows = [
        [
            f.name,
            f"{f.learning:,}",
            f"{f.parameters:,}",
            f"{f.samples:,}",
            f"{f.batch:,}",
            f"{f.steps:,}",
            ", ".join(map(number, f.weights)) or "–",
        ]
        for f in forecasts
    ]
    lines = format_table(header, rows)
    for forecast in forecasts:
        if forecast.tokens:
            counts = [[name, f"{tokens:,}"] for name, tokens in forecast.tokens.items()]
            lines += ["", *format_table([f"{forecast.name}: population", "tokens in one pass"], counts)]
    return lines


def _skeleton(plan: TrainingPlan) -> nn.Module:
    """The model without weights."""
    model_class, config = class_and_config(plan)
    if plan.model_name_or_path is not None and Path(plan.model_name_or_path).is_dir():
        folder = Path(plan.model_name_or_path)
        if not any(file for pattern in WEIGHTS for file in folder.glob(pattern)):
            raise ModelError(
                str(folder),
                "the folder has a config but no weights",
                f"for a model from scratch write `model: {{config: {folder / 'config.json'}}}`",
            )
    with torch.device("meta"):
        model: nn.Module = model_class(config)
    return model


def _grow_skeleton(model: nn.Module, stage: StagePlan) -> None:
    if stage.upcycle is None or router_parameters(model):
        return
    ffns = dense_ffns(model)
    widths = {index: width_of(ffn) for index, ffn in ffns.items()}
    plan = resolved(UpcyclePlan(**stage.upcycle.model_dump()), widths)
    if plan.router_from is not None:
        copied_routers(plan.router_from, plan, ffns)
    put_blocks(model, plan.to_config())


def _learning(model: nn.Module, stage: StagePlan) -> int:
    names = train_only(model, stage.train)
    owner: Any = vision_tower(model) if stage.objective == IMAGE_LABELS else model
    learning = sum(int(parameter.numel()) for parameter in owner.parameters() if parameter.requires_grad)
    if not learning:
        raise DpslError(
            f"stage {stage.name}",
            f"its objective trains the vision tower, but `train` names {len(names)} other parameters",
            "write `train: [vision_tower]`",
        )
    return learning


def _forecast(
    stage: StagePlan,
    model: nn.Module,
    learning: int,
    data: StageData,
    table: PriorTable | None,
    processes: int,
) -> StageForecast:
    samples = len(data.train)
    return StageForecast(
        name=stage.name,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        learning=learning,
        samples=samples,
        batch=stage.per_device_train_batch_size * stage.gradient_accumulation_steps * processes,
        steps=planned_steps(stage, samples, processes),
        tokens=_population_tokens(data, table) if stage.shape and table is not None else {},
        weights=tuple(sorted(set(table.weight.tolist()))) if stage.shape and table is not None else (),
    )


def _population_tokens(data: StageData, table: PriorTable) -> dict[str, int]:
    per_class = count_tokens(data.train, table)
    counts = np.zeros(table.population_count, np.int64)
    for populations in table.population:
        shaped = populations != UNSHAPED
        np.add.at(counts, populations[shaped], per_class[shaped])
    return {name: int(count) for name, count in zip(table.header.populations, counts, strict=True)}
