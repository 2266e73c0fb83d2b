"""What a prior needs to know of a model, from its transformers `config.json`.

Every family calls the numbers something else; a multimodal model keeps them in `text_config`. A dense
model states no experts, and gives its layers alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from priorlang.diagnostics.finding import Finding, PriorError, Related, Severity
from priorlang.diagnostics.span import whole_file

_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_EXPERTS = ("num_local_experts", "n_routed_experts", "num_experts")
_TOP_K = ("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_topk")


@dataclass(frozen=True, slots=True)
class GivenModel:
    """The model at hand. What its config does not state is None."""

    source: str
    layers: int | None = None
    experts: int | None = None
    top_k: int | None = None
    routed: tuple[int, ...] | None = None
    places: tuple[tuple[str, Related], ...] = field(default=(), compare=False)
    """Where a training file states a number, and not the config: `experts` → the place, in words."""

    def place(self, key: str) -> tuple[Related, ...]:
        """Where a number is stated, where that is not the config."""
        return tuple(related for known, related in self.places if known == key)

    def number(self, key: str) -> int | None:
        """`layers`, `experts` or `top_k`."""
        value: int | None = getattr(self, key)
        return value

    def lacking(self, keys: list[str]) -> str:
        """What the config was looked through for, and did not have."""
        names = {"layers": _LAYERS, "experts": _EXPERTS, "top_k": _TOP_K}
        sought = "; ".join(f"{key}: {', '.join(names[key])}" for key in keys)
        return f"{self.source} states none above 1 under a known key ({sought})"


def read_model(path: str) -> GivenModel:
    """Read a `config.json`, or the one in a checkpoint folder.

    Raises:
        PriorError: there is no such file, or it is no model config.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _refused(str(file), "missing-file", f"there is no file {file}") from None
    except OSError as error:
        raise _refused(str(file), "unreadable-file", f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise _refused(str(file), "invalid-value", f"{file} is no JSON: {error}") from None
    if not isinstance(config, dict):
        raise _refused(str(file), "invalid-value", f"{file} is no model config: it holds no mapping")
    return given_model(config, str(file))


def given_model(config: Mapping[str, Any], source: str) -> GivenModel:
    """The numbers in a transformers config, with the layers that route.

    Raises:
        PriorError: it states no number of layers.
    """
    text = config.get("text_config", config)
    layers = _first(text, _LAYERS)
    if layers is None:
        raise _refused(
            source, "invalid-value", f"{source} is no model config: it states no num_hidden_layers"
        )
    upcycled = config.get("upcycled") or text.get("upcycled")
    if isinstance(upcycled, dict):
        routed = upcycled.get("layers")
        listed = tuple(int(layer) for layer in routed) if isinstance(routed, list) else None
        return GivenModel(source, layers, upcycled.get("experts"), upcycled.get("top_k"), listed)
    experts, top_k = _first(text, _EXPERTS), _first(text, _TOP_K)
    if experts is None or experts < 2:
        return GivenModel(source, layers)
    return GivenModel(source, layers, experts, top_k, _routed(text, layers))


def _routed(text: Mapping[str, Any], layers: int) -> tuple[int, ...]:
    """The decoder layers that have experts."""
    if isinstance(text.get("moe_layers"), list):
        return tuple(sorted(int(layer) for layer in text["moe_layers"]))
    if text.get("expert_layer_period"):
        period, offset = int(text["expert_layer_period"]), int(text.get("expert_layer_offset") or 0)
        return tuple(range(offset % period, layers, period))
    dense_first = int(text.get("first_k_dense_replace") or 0)
    every = int(text.get("decoder_sparse_step") or text.get("moe_layer_freq") or 1)
    interleave = int(text.get("interleave_moe_layer_step") or 1)
    dense = set(text.get("mlp_only_layers") or ())
    return tuple(
        layer
        for layer in range(dense_first, layers)
        if layer not in dense and (layer + 1) % every == 0 and (layer + 1) % interleave == 0
    )


def _first(config: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    found = (config.get(key) for key in keys)
    return next((value for value in found if isinstance(value, int) and not isinstance(value, bool)), None)


def _refused(source: str, name: str, message: str) -> PriorError:
    return PriorError([Finding(name, Severity.ERROR, message, whole_file(source))])
