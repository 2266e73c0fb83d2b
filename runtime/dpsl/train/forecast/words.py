"""A forecast as text."""

from __future__ import annotations

import json
from collections.abc import Sequence

from dpsl.text_table import format_table, number
from dpsl.train.forecast.census import Census, PartCensus
from dpsl.train.forecast.stage_forecast import StageForecast
from dpsl.train.forecast.tokens import TokenForecast
from dpsl.train.parts import LANGUAGE_MODEL, ROUTERS
from priorlang.semantics.describe import index_set

Lines = list[str]


def describe(forecasts: Sequence[StageForecast], processes: int) -> Lines:
    """The forecast as lines: stages, parameters, memory, populations, DeepSpeed's configuration."""
    blocks = [_stages(forecasts), *_parameters(forecasts), _memory(forecasts, processes)]
    blocks += [_populations(forecast) for forecast in forecasts if forecast.tokens]
    blocks += _deepspeed(forecasts)
    return [line for block in blocks for line in (*block, "")][:-1]


def _stages(forecasts: Sequence[StageForecast]) -> Lines:
    header = ["stage", "learning", "of", "samples", "batch", "steps", "warm-up", "rate", "shaped weight"]
    rows = [
        [
            f.name,
            f"{f.census.whole.learning:,}",
            f"{f.census.whole.total:,}",
            f"{f.samples:,}",
            f"{f.batch:,}",
            f"{f.steps:,}",
            f"{f.warmup:,}",
            number(f.learning_rate),
            ", ".join(map(number, f.weights)) or "–",
        ]
        for f in forecasts
    ]
    return format_table(header, rows)


def _parameters(forecasts: Sequence[StageForecast]) -> list[Lines]:
    """One table for each form the model has."""
    forms: dict[tuple[tuple[str, int], ...], Census] = {}
    for forecast in forecasts:
        parts = forecast.census.parts
        forms.setdefault(tuple((name, part.total) for name, part in parts.items()), forecast.census)
    return [_form(census) for census in forms.values()]


def _form(census: Census) -> Lines:
    def row(name: str, part: PartCensus) -> list[str]:
        # The part that they lie in counts them too.
        name = f"of these, {name}" if name == ROUTERS else name
        return [name, f"{part.total:,}", *([f"{part.active:,}"] if census.experts else [])]

    header = ["parameters, with experts" if census.experts else "parameters", "all"]
    order = sorted(census.parts, key=lambda name: (name not in (LANGUAGE_MODEL, ROUTERS), name == ROUTERS))
    rows = [*(row(name, census.parts[name]) for name in order), row("the model", census.whole)]
    return format_table([*header, *(["active for a token"] if census.experts else [])], rows)


def _memory(forecasts: Sequence[StageForecast], processes: int) -> Lines:
    unit, name = _unit(max(f.memory.on_device + f.memory.off_device for f in forecasts))

    def size(bytes_: int) -> str:
        return f"{bytes_ / unit:,.1f}" if bytes_ >= 10 * unit else f"{bytes_ / unit:.3g}"

    header = [f"memory of one rank of {processes}, {name}", "ZeRO", "weights", "gradients", "fp32 copies",
              "states", "on the device", "offloaded"]  # fmt: skip
    kinds = ("weights", "gradients", "fp32 copies", "states")
    rows = []
    for f in forecasts:
        held = {**f.memory.device, **f.memory.offloaded}
        cells = [
            f"{size(held[kind])}{' off' if kind in f.memory.offloaded and held[kind] else ''}"
            for kind in kinds
        ]
        rows.append([f.name, str(f.zero), *cells, size(f.memory.on_device), size(f.memory.off_device)])
    unknown = sorted({f.memory.unknown for f in forecasts if f.memory.unknown is not None})
    notes = ["Not counted: activations, communication buckets, what the allocator loses."]
    largest = max(f.memory.loading for f in forecasts)
    notes += [
        f"Before a stage's first step each rank has its model in host memory: at least {size(largest)} {name}."
    ]
    notes += [f"Not counted: the states of {optimizer}, whose size is not known." for optimizer in unknown]
    return [*format_table(header, rows), *notes]


def _populations(forecast: StageForecast) -> Lines:
    """One row for populations that differ in nothing but their layer."""
    alike: dict[tuple[str, TokenForecast], list[str]] = {}
    for name, tokens in forecast.tokens.items():
        layer, _, rest = name.partition(" · ")
        alike.setdefault((rest, tokens), []).append(layer)
    rows = [[f"{_layers(layers)} · {rest}", _tokens(tokens)] for (rest, tokens), layers in alike.items()]
    return format_table([f"{forecast.name}: population", "tokens in one pass"], rows)


def _layers(names: Sequence[str]) -> str:
    """`layers 0..27` for `layer 0`, `layer 1` …"""
    if len(names) == 1:
        return names[0]
    return f"layers {index_set(int(name.removeprefix('layer ')) for name in names)}"


def _tokens(tokens: TokenForecast) -> str:
    if tokens.complete:
        return f"{tokens.counted:,}"
    return f"at least {tokens.counted:,}" if tokens.counted else "not known"


def _deepspeed(forecasts: Sequence[StageForecast]) -> list[Lines]:
    """Each configuration once, with the stages that use it."""
    users: dict[str, list[str]] = {}
    for forecast in forecasts:
        text = json.dumps(forecast.deepspeed, indent=2, default=str)
        users.setdefault(text, []).append(forecast.name)
    return [[f"DeepSpeed, {', '.join(names)}:", *text.splitlines()] for text, names in users.items()]


def _unit(largest: int) -> tuple[float, str]:
    return (1e9, "GB") if largest >= 1e8 else (1e6, "MB")
