"""Whether DeepSpeed will take a configuration, asked of DeepSpeed's own configuration classes before anything is loaded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, KeysView, Mapping, Sequence
from functools import cache
from typing import Any, get_args

import torch
from pydantic import BaseModel, ValidationError

from dpsl.errors import DpslError
from priorlang.diagnostics.suggest import listing, nearest
from priorlang.training.plan import StagePlan

READ_LATER = frozenset(
    {
        "amp",
        "autotuning",
        "curriculum_learning",
        "eigenvalue",
        "elasticity",
        "gradient_accumulation_dtype",
        "nebula",
        "progressive_layer_drop",
        "sequence_parallel_size",
        "vocabulary_size",
        "zenflow",
    }
)
"""Keys that DeepSpeed's engine, transformers or accelerate read, and its configuration class does not."""
PLAIN_SECTIONS = ("optimizer", "scheduler", "activation_checkpointing", "data_types", "aio", "flops_profiler")
"""Sections that DeepSpeed reads key by key, passing over those that it does not know."""
SMALLEST = {"train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": 1}
BATCH = ("train_batch_size", *SMALLEST)
NUMBERS = (*BATCH, "steps_per_print")
"""Keys that want a number and have none by default."""
MANY = 12


class DeepSpeedSettingsError(DpslError):
    """DeepSpeed would refuse a configuration, or pass over a key. Place, problem and fix are the first's.

    Args:
        found: one error for each mistake.
    """

    def __init__(self, found: Sequence[DpslError]) -> None:
        super().__init__(found[0].place, found[0].problem, found[0].fix)
        self.found = tuple(found)

    def __str__(self) -> str:
        if len(self.found) == 1:
            return str(self.found[0])
        return "\n  ".join([f"{len(self.found)} mistakes in DeepSpeed's settings:", *map(str, self.found)])


def check_deepspeed(stages: Iterable[StagePlan]) -> None:
    """Refuse settings that DeepSpeed would refuse, or would not read.

    Raises:
        DeepSpeedSettingsError: with every mistake of every stage; one that stages share is told once.
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    for stage in stages:
        for mistake in _mistakes(stage.deepspeed):
            found.setdefault(mistake, []).append(stage.name)
    if found:
        raise DeepSpeedSettingsError(
            [
                DpslError(f"stage {', '.join(names)}: deepspeed: {place}", problem, fix)
                for (place, problem, fix), names in found.items()
            ]
        )


def _mistakes(given: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Place under `deepspeed`, problem and fix of each mistake."""
    read, defaults = _Read(_without_auto(given)), _defaults()
    sections = {key: read[key] for key in read if key not in BATCH and not _is_plain(defaults.get(key))}
    refused = [
        mistake for key, section in sections.items() for mistake in _refused({**SMALLEST, key: section}, key)
    ]
    yield from refused or _refused(_Read({**SMALLEST, **sections}), "")
    for key in given:
        if key not in defaults and key not in READ_LATER:
            yield key, "DeepSpeed reads no such key", _did_you_mean(key, {*defaults, *READ_LATER})
    yield from _unread(given, read)
    yield from _wrong_types(read, defaults)
    yield from _unknown_types(given)


class _Read(dict[str, Any]):
    """A configuration that remembers which keys were asked for, and with which default."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__({k: _Read(v) if isinstance(v, dict) else v for k, v in values.items()})
        self.asked: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.setdefault(key, default)
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self.asked.setdefault(key, None)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.asked.setdefault(str(key), None)
        return super().__contains__(key)

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        return KeysView(self)

    def __copy__(self) -> _Read:
        return self


def _refused(config: dict[str, Any], key: str) -> Iterator[tuple[str, str, str]]:
    """What DeepSpeed's own class says of a configuration of which only `key` is of interest."""
    from deepspeed.runtime.config import DeepSpeedConfig

    try:
        DeepSpeedConfig(config)
    except ValidationError as error:
        for one in error.errors():
            path = [str(part) for part in one["loc"]]
            model = _model_at(error.title, path[:-1])
            path = path if not key or path[:1] == [key] else [key, *path]
            yield ": ".join(path), *_told(one["type"], one["msg"], one["input"], path[-1], model)
    except (AssertionError, ValueError, TypeError, AttributeError, KeyError) as error:
        if key and not isinstance(config[key], dict) and isinstance(error, TypeError | AttributeError):
            yield f"{key}: {config[key]!r}", "this is a section, not a value", "write a mapping of its keys"
        else:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            yield key or "its sections together", f"DeepSpeed refuses it ({reason})", "mend it"


def _told(kind: str, message: str, value: Any, key: str, model: type[BaseModel] | None) -> tuple[str, str]:
    if kind == "extra_forbidden":
        return "DeepSpeed knows no such key here", _did_you_mean(key, _fields(model))
    if kind.startswith("bool"):
        return f"{value!r} cannot be", "write true or false"
    wanted = message.removeprefix("Input should be ").split(", unable")[0]
    return f"{value!r} cannot be", f"write {wanted}" if message.startswith("Input should") else message


def _model_at(title: str, path: Sequence[str]) -> type[BaseModel] | None:
    """DeepSpeed's class of a section, by the name of the outermost and the keys below it."""
    from deepspeed.runtime.config_utils import DeepSpeedConfigModel

    model = next((each for each in _below(DeepSpeedConfigModel) if each.__name__ == title), None)
    for key in path:
        field = model.model_fields.get(key) if model is not None else None
        kinds = (field.annotation, *get_args(field.annotation)) if field is not None else ()
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return model


def _below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for each in model.__subclasses__():
        yield each
        yield from _below(each)


def _fields(model: type[BaseModel] | None) -> Collection[str]:
    if model is None:
        return ()
    return [field.alias or name for name, field in model.model_fields.items()]


@cache
def _defaults() -> Mapping[str, Any]:
    """The keys that DeepSpeed's class asks a configuration for, and what it takes in their place."""
    from deepspeed.runtime.config import DeepSpeedConfig

    empty = _Read(SMALLEST)
    DeepSpeedConfig(empty)
    return empty.asked


def _is_plain(default: Any) -> bool:
    return isinstance(default, bool | int | float | str)


def _unread(given: Mapping[str, Any], read: _Read) -> Iterator[tuple[str, str, str]]:
    for name in PLAIN_SECTIONS:
        section, asked = given.get(name), getattr(read.get(name), "asked", {})
        for key in section if isinstance(section, dict) and asked else ():
            if key not in asked:
                yield f"{name}: {key}", "DeepSpeed reads no such key here", _did_you_mean(key, asked)


def _wrong_types(read: _Read, defaults: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Plain values of another type than DeepSpeed's default, which its class takes unseen."""
    for key, value in read.items():
        default = 1 if key in NUMBERS else defaults.get(key)
        if isinstance(default, bool):
            if value not in (True, False):
                yield f"{key}: {value!r}", "it cannot be", "write true or false"
        elif isinstance(default, int | float) and (
            isinstance(value, bool) or not isinstance(value, int | float)
        ):
            yield f"{key}: {value!r}", "it cannot be", "write a number"


def _unknown_types(given: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Names of optimizers and schedules, which DeepSpeed looks up when it begins."""
    from deepspeed.runtime.config import DEEPSPEED_OPTIMIZERS
    from deepspeed.runtime.lr_schedules import VALID_LR_SCHEDULES

    for section, known in (("optimizer", DEEPSPEED_OPTIMIZERS), ("scheduler", VALID_LR_SCHEDULES)):
        inner = given.get(section)
        if not isinstance(inner, dict) or "type" not in inner:
            continue
        name = inner["type"]
        there = str(name).lower() in known or hasattr(torch.optim, str(name))
        if section == "scheduler":
            there = name in known or hasattr(torch.optim.lr_scheduler, str(name))
        if not there:
            yield (
                f"{section}: type: {name!r}",
                "DeepSpeed has none of that name",
                _did_you_mean(str(name), known),
            )


def _did_you_mean(word: str, known: Collection[str]) -> str:
    near = nearest(word, known, 3)
    if near:
        return f"did you mean {' or '.join(f'`{name}`' for name in near)}?"
    if not 0 < len(known) <= MANY:
        return "leave it out"
    return f"there are {listing(sorted(known), MANY)}" if len(known) > 1 else f"write `{next(iter(known))}`"


def _without_auto(config: Mapping[str, Any]) -> dict[str, Any]:
    """Without what transformers will fill in."""
    return {
        key: _without_auto(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if not (isinstance(value, str) and value == "auto")
    }
