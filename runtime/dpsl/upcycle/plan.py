"""What was asked of the upcycler, resolved; `model.config.upcycled` keeps it to rebuild the structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dpsl.errors import UpcycleError
from priorlang.diagnostics.suggest import listing
from priorlang.training.upcycle import (
    ROUTER_STD,
    default_drop_ratio,
    default_noise,
    default_router,
    problems,
    unknown_choice,
)

VERSION = 2
LAYER_CHOICES = ("all", "every-other", "first-half")


@dataclass(frozen=True)
class UpcyclePlan:
    """The arguments of `dpsl.upcycle`; `resolved` replaces what was left to the method."""

    method: str = "sparse"
    experts: int = 4
    top_k: int = 2
    granularity: int = 1
    shared_expert: bool = True
    noise: float | None = None
    scale: str | None = None
    layers: str | tuple[int, ...] = "all"
    seed: int = 0
    renormalize: bool = False
    drop_ratio: float | None = None
    drop_indices: str = "shared"
    router: str | None = None
    router_std: float = ROUTER_STD
    branches: tuple[str, ...] = ()

    @property
    def replicas(self) -> int:
        """R, how often each part of the dense FFN is there."""
        return self.experts // self.granularity

    @property
    def routed(self) -> tuple[int, ...]:
        """The decoder layers, once they are resolved."""
        assert not isinstance(self.layers, str)
        return self.layers

    def to_config(self) -> dict[str, Any]:
        """A JSON form."""
        return {
            "version": VERSION,
            **asdict(self),
            "layers": list(self.layers),
            "branches": list(self.branches),
        }

    @classmethod
    def from_config(cls, stored: dict[str, Any]) -> UpcyclePlan:
        """The inverse of `to_config`.

        Raises:
            UpcycleError: another version wrote it, or a key is missing.
        """
        if stored.get("version") != VERSION:
            raise UpcycleError(
                "config.upcycled",
                f"version {stored.get('version')!r} is not known",
                "load it with the dpsl that wrote it, or upcycle the dense model again",
            )
        try:
            values = {key: stored[key] for key in cls.__dataclass_fields__}
        except KeyError as missing:
            raise UpcycleError(
                "config.upcycled", f"no {missing}", "save the model again after upcycling"
            ) from None
        return cls(**{**values, "layers": tuple(stored["layers"]), "branches": tuple(stored["branches"])})


def resolved(asked: UpcyclePlan, widths: dict[int, int]) -> UpcyclePlan:
    """The plan for a model, with every default and every layer filled in.

    Args:
        asked: what was asked for.
        widths: d_ff of each decoder layer with a dense FFN, by its index.

    Raises:
        UpcycleError: naming the argument, what is wrong with it, and the fix.
    """
    for key, problem, fix in problems(asked):
        raise UpcycleError(f"{key}={getattr(asked, key)!r}", problem, fix)
    layers = resolve_layers(asked.layers, sorted(widths))
    for layer in layers:
        _check_width(layer, widths[layer], asked.granularity)
    filled = {
        "noise": default_noise(asked.method) if asked.noise is None else float(asked.noise),
        "router": asked.router or default_router(asked.granularity),
        "layers": layers,
        "shared_expert": bool(asked.shared_expert),
        "renormalize": bool(asked.renormalize),
    }
    if asked.method == "drop":
        filled["drop_ratio"] = asked.drop_ratio or default_drop_ratio(asked.experts)
    return UpcyclePlan(**{**asdict(asked), **filled})


def resolve_layers(wanted: str | Sequence[int], available: Sequence[int]) -> tuple[int, ...]:
    """The decoder layers to upcycle.

    Args:
        wanted: `all`, `every-other` (the first, the third …), `first-half`, or indices.
        available: decoder layers with a dense FFN, ascending.

    Raises:
        UpcycleError: an unknown choice, or an index without a dense FFN.
    """
    if isinstance(wanted, str):
        if wanted not in LAYER_CHOICES:
            _, problem, fix = unknown_choice("layers", wanted, LAYER_CHOICES, "a list of layer indices")
            raise UpcycleError(f"layers={wanted!r}", problem, fix)
        choices = {
            "all": available,
            "every-other": available[::2],
            "first-half": available[: (len(available) + 1) // 2],
        }
        return tuple(choices[wanted])
    odd = [index for index in wanted if type(index) is not int]
    if odd:
        raise UpcycleError(f"layers={list(wanted)}", f"{odd[0]!r} is no layer index", "write whole numbers")
    missing = sorted(set(wanted) - set(available))
    if missing or not wanted:
        raise UpcycleError(
            f"layers={list(wanted)}",
            f"no dense FFN in layer {missing[0]}" if missing else "no layer is named",
            f"choose from {listing(map(str, available))}",
        )
    return tuple(sorted(set(wanted)))


def _check_width(layer: int, width: int, granularity: int) -> None:
    if width % granularity:
        divisors = [str(n) for n in range(1, min(width, 64) + 1) if width % n == 0]
        raise UpcycleError(
            f"granularity={granularity}",
            f"the FFN of layer {layer} is {width} wide, which does not divide into {granularity} parts",
            f"choose from {listing(divisors)}",
        )
