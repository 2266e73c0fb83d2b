"""The dense model that a checkpoint folder describes, without weights, and whether the folder's weights are its."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dpsl.errors import UpcycleError
from dpsl.upcycle.classes import model_class_of, upcycled_class
from dpsl.upcycle.decoder import SUPPORTED, decoder_layers, dense_ffns
from dpsl.upcycle.shards import Checkpoint
from priorlang.diagnostics.suggest import listing

LAYER = re.compile(r"(?P<prefix>.*\.)?layers\.(?P<layer>\d+)\..+")
LONGEST = 200
FOLDER = "name a checkpoint folder on this machine"


def skeleton_of(source: Path) -> nn.Module:
    """The dense model of a folder on the meta device.

    Raises:
        UpcycleError: there is no config.json that describes a model which can be upcycled.
    """
    import transformers

    place = source / "config.json"
    _check_json(source, place)
    try:
        config = transformers.AutoConfig.from_pretrained(str(source))
    except Exception as error:  # what a value of the file breaks is anyone's guess
        raise _unusable(place, error) from None
    names = config.architectures
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        raise UpcycleError(
            str(place), f"`architectures` is {names!r}", 'it is a list such as ["LlamaForCausalLM"]'
        )
    model_class: Any = model_class_of(names[0])
    if not _is_model(model_class):
        raise UpcycleError(str(place), f"class {names[0]!r} is not known", SUPPORTED)
    if getattr(config, "quantization_config", None) is not None:
        raise UpcycleError(
            str(place), "its weights are quantized", "upcycle a checkpoint in bf16, fp16 or fp32"
        )
    if not isinstance(config, model_class.config_class):
        raise UpcycleError(
            str(place),
            f"`architectures` names {names[0]}, which is no model of `model_type` {config.model_type!r}",
            "make the two agree",
        )
    try:
        with torch.device("meta"):
            model: nn.Module = model_class(config)
    except Exception as error:
        raise _unusable(place, error) from None
    dense_ffns(model)
    upcycled_class(model)
    return model


def check_weights(skeleton: Any, checkpoint: Checkpoint) -> None:
    """Hold the tensors of a folder to what its config.json states.

    Names are compared where the checkpoint uses the model's own; an older layout of a LLaVA has others, of which the
    FFNs' are compared when they are read.

    Raises:
        UpcycleError: naming the first tensor that is missing, too many, or of another shape.
    """
    place, fix = str(checkpoint.folder), "correct config.json, or download the checkpoint again"
    expected = {name: tuple(weight.shape) for name, weight in skeleton.state_dict().items()}
    for name, stored in checkpoint.tensors.items():
        if name in expected and expected[name] != stored.shape:
            raise UpcycleError(
                place,
                f"{name} is {list(stored.shape)}, and config.json makes it {list(expected[name])}",
                fix,
            )
    if any(name not in expected for name in checkpoint.tensors if LAYER.fullmatch(name)):
        _check_depth(skeleton, checkpoint, fix)
        return
    tied = set(getattr(skeleton, "all_tied_weights_keys", None) or ())
    missing = sorted(expected.keys() - checkpoint.tensors.keys() - tied)
    if missing:
        raise UpcycleError(place, f"there are no weights for {listing(missing, 3)}", fix)


def _check_depth(skeleton: nn.Module, checkpoint: Checkpoint, fix: str) -> None:
    """Refuse decoder layers beyond those of config.json."""
    depth = len(decoder_layers(skeleton))
    for name in checkpoint.tensors:
        match = LAYER.fullmatch(name)
        if match is None or "vision" in name or ".mlp." not in name:
            continue
        if int(match["layer"]) >= depth:
            raise UpcycleError(
                str(checkpoint.folder),
                f"it holds {name}, and config.json states num_hidden_layers={depth}",
                fix,
            )


def _is_model(found: Any) -> bool:
    from transformers import PreTrainedModel

    return isinstance(found, type) and issubclass(found, PreTrainedModel)


def _check_json(source: Path, place: Path) -> None:
    if not source.is_dir():
        problem = "this is a file" if source.exists() else "there is no such folder"
        raise UpcycleError(str(source), problem, FOLDER)
    if not place.is_file():
        raise UpcycleError(str(source), "there is no config.json", FOLDER)
    try:
        content = json.loads(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise UpcycleError(
            str(place), f"it cannot be read ({error.strerror or error})", "check its permissions"
        ) from None
    except ValueError as error:
        raise UpcycleError(
            str(place), f"this is no JSON ({error})", "download the checkpoint again"
        ) from None
    if not isinstance(content, dict) or not isinstance(content.get("model_type"), str):
        raise UpcycleError(
            str(place), "it states no `model_type`", "name the folder of a transformers checkpoint"
        )


def _unusable(place: Path, error: Exception) -> UpcycleError:
    """The reason in one line; where a value of the file is of the wrong kind, that is in the last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no reason is given"]
    reason = lines[-1] if type(error).__name__.startswith("Strict") else f"{type(error).__name__}: {lines[0]}"
    shown = reason if len(reason) <= LONGEST else f"{reason[: LONGEST - 1]}…"
    return UpcycleError(
        str(place), f"it describes no model that can be built ({shown})", f"correct it: {SUPPORTED}"
    )
