"""What was asked of the upcycler, resolved; `model.config.upcycled` keeps it to rebuild the structure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from dpsl.errors import UpcycleError, UpcycleOptionsError
from priorlang.diagnostics.suggest import closest, listing
from priorlang.training.upcycle import ROUTER_STD, default_drop_ratio, default_noise, default_router
from priorlang.training.upcycle_checks import problems, unknown_choice

VERSION = 2
LONGEST = 80
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
    router_from: str | None = None
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
        given = {"router_from": None, **stored}
        missing = [field.name for field in fields(cls) if field.name not in given]
        if missing:
            raise UpcycleError(
                "config.upcycled", f"no {missing[0]!r}", "save the model again after upcycling"
            )
        plan = plan_of({field.name: given[field.name] for field in fields(cls)})
        wrong = [(key, problem) for key, problem, _ in problems(plan)]
        if not _are_indices(plan.layers):
            wrong.append(("layers", "they are the indices of decoder layers"))
        if wrong:
            key, problem = wrong[0]
            raise UpcycleError(
                "config.upcycled",
                f"{key} is {given[key]!r}: {problem}",
                "undo the change to config.json, or upcycle the dense model again",
            )
        return plan


def plan_of(options: Mapping[str, Any]) -> UpcyclePlan:
    """The options as a plan, sequences as tuples; nothing is checked but their names.

    Raises:
        UpcycleError: there is no option of a name.
    """
    known = [field.name for field in fields(UpcyclePlan)]
    unknown = [
        UpcycleError(f"{key}={value!r}", "there is no such option", _meant(key, known))
        for key, value in options.items()
        if key not in known
    ]
    _raise_all(unknown)
    listed = {
        key: tuple(options[key])
        for key in ("layers", "branches")
        if isinstance(options.get(key), Iterable) and not isinstance(options[key], str)
    }
    return UpcyclePlan(**{**options, **listed})


def resolved(asked: UpcyclePlan, widths: dict[int, int]) -> UpcyclePlan:
    """The plan for a model, with every default and every layer filled in.

    Args:
        asked: what was asked for.
        widths: d_ff of each decoder layer with a dense FFN, by its index.

    Raises:
        UpcycleError: naming every argument that cannot be, what is wrong with it, and the fix.
    """
    wrong = [
        UpcycleError(f"{key}={_shown(getattr(asked, key))}", problem, fix)
        for key, problem, fix in problems(asked)
    ]
    layers: tuple[int, ...] = ()
    try:
        layers = resolve_layers(asked.layers, sorted(widths))
    except UpcycleError as error:
        wrong.append(error)
    if type(asked.granularity) is int and asked.granularity > 0:
        wrong.extend(_narrow(layers or widths, widths, asked.granularity))
    _raise_all(wrong)
    filled = {
        "noise": default_noise(asked.method) if asked.noise is None else float(asked.noise),
        "router": asked.router or default_router(asked.granularity, asked.router_from),
        "layers": layers,
    }
    if asked.method == "drop":
        filled["drop_ratio"] = asked.drop_ratio or default_drop_ratio(asked.experts)
    return UpcyclePlan(**{**asdict(asked), **filled})


def resolve_layers(wanted: str | Iterable[int], available: list[int]) -> tuple[int, ...]:
    """The decoder layers to upcycle.

    Args:
        wanted: `all`, `every-other` (the first, the third …), `first-half`, or indices.
        available: decoder layers with a dense FFN, ascending.

    Raises:
        UpcycleError: an unknown choice, an index without a dense FFN, or one that is there twice.
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
    if not isinstance(wanted, Iterable):
        raise UpcycleError(
            f"layers={wanted!r}",
            "it says which layers route",
            "give 'all', 'every-other', 'first-half' or a list",
        )
    wanted = list(wanted)
    odd = [index for index in wanted if type(index) is not int]
    if odd:
        raise UpcycleError(f"layers={wanted}", f"{odd[0]!r} is no layer index", "write whole numbers")
    twice = sorted(index for index in set(wanted) if wanted.count(index) > 1)
    if twice:
        raise UpcycleError(f"layers={wanted}", f"layer {twice[0]} is named twice", "name each layer once")
    missing = sorted(set(wanted) - set(available))
    if missing or not wanted:
        raise UpcycleError(
            f"layers={wanted}",
            f"no dense FFN in layer {missing[0]}" if missing else "no layer is named",
            f"choose from {listing(map(str, available))}",
        )
    return tuple(sorted(wanted))


def _narrow(layers: Iterable[int], widths: Mapping[int, int], granularity: int) -> Iterator[UpcycleError]:
    """The first layer whose FFN does not divide into the parts."""
    for layer in layers:
        width = widths[layer]
        if width % granularity:
            divisors = [str(n) for n in range(1, min(width, 64) + 1) if width % n == 0]
            yield UpcycleError(
                f"granularity={granularity}",
                f"the FFN of layer {layer} is {width} wide, which does not divide into {granularity} parts",
                f"choose from {listing(divisors)}",
            )
            return


def _raise_all(found: list[UpcycleError]) -> None:
    if len(found) == 1:
        raise found[0]
    if found:
        raise UpcycleOptionsError(found)


def _meant(key: str, known: Iterable[str]) -> str:
    near = closest(key, known)
    return f"did you mean {near!r}?" if near else f"there are {listing(known, 20)}"


def _shown(value: Any) -> str:
    """On one line, however large the thing is."""
    first, *others = repr(list(value) if isinstance(value, tuple) else value).splitlines() or [""]
    return first if not others and len(first) <= LONGEST else f"{first[:LONGEST]}…"


def _are_indices(layers: object) -> bool:
    return isinstance(layers, tuple) and all(type(index) is int and index >= 0 for index in layers)
