"""What was asked of the upcycler, checked; `model.config.upcycled` keeps it to rebuild the structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dpsl.errors import UpcycleError
from priorlang.diagnostics.suggest import closest, listing

METHODS = ("sparse",)
SCALES = (None, "preserve")
LAYER_CHOICES = ("all", "every-other", "first-half")


@dataclass(frozen=True)
class UpcyclePlan:
    """The arguments of `dpsl.upcycle`, with `layers` as decoder-layer indices."""

    method: str
    experts: int
    top_k: int
    granularity: int
    shared_expert: bool
    noise: float
    scale: str | None
    layers: tuple[int, ...]
    seed: int

    def to_config(self) -> dict[str, Any]:
        """A JSON form."""
        return {"version": 1, **asdict(self), "layers": list(self.layers)}

    @classmethod
    def from_config(cls, stored: dict[str, Any]) -> UpcyclePlan:
        """The inverse of `to_config`.

        Raises:
            UpcycleError: another version wrote it, or a key is missing.
        """
        if stored.get("version") != 1:
            raise UpcycleError(
                "config.upcycled",
                f"version {stored.get('version')!r} is not known",
                "load it with the dpsl that wrote it",
            )
        try:
            return cls(
                **{
                    **{key: stored[key] for key in cls.__dataclass_fields__},
                    "layers": tuple(stored["layers"]),
                }
            )
        except KeyError as missing:
            raise UpcycleError(
                "config.upcycled", f"no {missing}", "save the model again after upcycling"
            ) from None


def check_plan(plan: UpcyclePlan) -> None:
    """Refuse what cannot be built.

    Raises:
        UpcycleError: naming the argument and what exists.
    """
    _one_of("method", plan.method, METHODS)
    _one_of("scale", plan.scale, SCALES)
    if plan.granularity != 1:
        raise UpcycleError(f"granularity={plan.granularity}", "only 1 is built", "leave it at 1")
    if plan.experts < 2:
        raise UpcycleError(f"experts={plan.experts}", "a mixture needs at least two", "ask for more experts")
    if not 1 <= plan.top_k <= plan.experts:
        raise UpcycleError(
            f"top_k={plan.top_k}",
            f"a token can go to 1 up to {plan.experts} experts",
            f"lower top_k to at most experts={plan.experts}, or raise experts",
        )
    if not 0 <= plan.noise < float("inf"):
        raise UpcycleError(f"noise={plan.noise}", "a standard deviation is finite and at least 0", "try 0.01")


def resolve_layers(wanted: str | Sequence[int], available: Sequence[int]) -> tuple[int, ...]:
    """The decoder layers to upcycle.

    Args:
        wanted: `all`, `every-other` (the first, the third …), `first-half`, or indices.
        available: decoder layers with a dense FFN, ascending.

    Raises:
        UpcycleError: an unknown choice, or an index without a dense FFN.
    """
    if isinstance(wanted, str):
        _one_of("layers", wanted, LAYER_CHOICES, "a list of layer indices")
        choices = {
            "all": available,
            "every-other": available[::2],
            "first-half": available[: (len(available) + 1) // 2],
        }
        return tuple(choices[wanted])
    missing = sorted(set(wanted) - set(available))
    if missing or not wanted:
        raise UpcycleError(
            f"layers={list(wanted)}",
            f"no dense FFN in layer {missing[0]}" if missing else "no layer is named",
            f"choose from {listing(map(str, available))}",
        )
    return tuple(sorted(set(wanted)))


def _one_of(name: str, value: str | None, known: Sequence[str | None], also: str | None = None) -> None:
    if value in known:
        return
    names = [repr(item) for item in known] + ([also] if also else [])
    near = closest(value, [item for item in known if item]) if isinstance(value, str) else None
    fix = f"did you mean {near!r}?" if near else f"choose from {listing(names)}"
    raise UpcycleError(f"{name}={value!r}", f"what exists is {listing(names)}", fix)
