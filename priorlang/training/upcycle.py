"""The `upcycle:` block of a training file, and what its values must be to each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple, Protocol

from pydantic import Field, field_validator

from priorlang.diagnostics.suggest import closest, listing
from priorlang.training.strict import NonNegativeFloat, PositiveFloat, PositiveInt, Strict

METHODS = ("sparse", "drop", "btx")
SCALES = (None, "preserve", "he", "he-down")
ROUTERS = (None, "normal", "zeros", "virtual-group")
DROP_INDICES = ("shared", "per-matrix")

SPARSE_NOISE = 0.01
"""Standard deviation of the noise on sparse copies (appendix C.2); the other methods bring their own variety."""
ROUTER_STD = 0.02
MOST_EXPERTS = 4096
"""Far above any mixture there is: more is a slip, and would build for hours."""
MANY_EXPERTS = 8
"""Above this many experts half of an expert is too much to drop (appendix C.4: .5 for 4 experts, .2 for 16)."""


class UpcyclePlan(Strict):
    """How dense feed-forward layers become experts; see `dpsl.upcycle`."""

    method: Literal["sparse", "drop", "btx"] = "sparse"
    experts: Annotated[int, Field(ge=2)] = 4
    top_k: PositiveInt = 2
    granularity: PositiveInt = 1
    """Parts that each dense FFN is cut into: d_ff / d_expert."""
    shared_expert: bool = True
    noise: NonNegativeFloat | None = None
    """Standard deviation of the noise on each expert's copy; by default 0.01 for sparse, 0 for drop and btx."""
    scale: Literal["preserve", "he", "he-down"] | None = None
    """None: the paper's unnormalised sum; `preserve` keeps the dense model's function."""
    layers: Literal["all", "every-other", "first-half"] | tuple[Annotated[int, Field(ge=0)], ...] = "all"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    renormalize: bool = False
    """Whether the gates of the chosen experts are divided by their sum."""
    drop_ratio: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of each expert's width that is drawn anew; by default 0.5 up to 8 experts, 0.2 above."""
    drop_indices: Literal["shared", "per-matrix"] = "shared"
    router: Literal["normal", "zeros", "virtual-group"] | None = None
    """How routers begin; by default `virtual-group` for granular experts, `normal` otherwise."""
    router_std: PositiveFloat = ROUTER_STD
    branches: tuple[str, ...] = ()
    """For btx: the dense models that the experts come from: names of earlier stages, or folders."""

    @field_validator("branches", mode="before")
    @classmethod
    def _one_is_a_list(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given


class Asked(Protocol):
    """What `problems` reads."""

    @property
    def method(self) -> str: ...
    @property
    def experts(self) -> int: ...
    @property
    def top_k(self) -> int: ...
    @property
    def granularity(self) -> int: ...
    @property
    def noise(self) -> float | None: ...
    @property
    def scale(self) -> str | None: ...
    @property
    def seed(self) -> int: ...
    @property
    def drop_ratio(self) -> float | None: ...
    @property
    def drop_indices(self) -> str: ...
    @property
    def router(self) -> str | None: ...
    @property
    def router_std(self) -> float: ...
    @property
    def branches(self) -> tuple[str, ...]: ...


class Problem(NamedTuple):
    """One value that cannot be: its key, what is wrong, and what to do."""

    key: str
    problem: str
    fix: str


def problems(asked: Asked) -> Iterator[Problem]:
    """Everything about the options that no model could satisfy."""
    yield from _choices(asked)
    yield from _numbers(asked)
    if not all(_is_count(value) for value in (asked.experts, asked.top_k, asked.granularity)):
        return
    yield from _granular(asked)
    yield from _method_options(asked)


def default_noise(method: str) -> float:
    """The noise of a method that is given none."""
    return SPARSE_NOISE if method == "sparse" else 0.0


def default_drop_ratio(experts: int) -> float:
    """The paper's ratios (appendix C.4)."""
    return 0.5 if experts <= MANY_EXPERTS else 0.2


def default_router(granularity: int) -> str:
    """Granular experts begin as whole FFNs, which only a router that chooses whole groups keeps."""
    return "normal" if granularity == 1 else "virtual-group"


def _choices(asked: Asked) -> Iterator[Problem]:
    for key, known in (
        ("method", METHODS),
        ("scale", SCALES),
        ("router", ROUTERS),
        ("drop_indices", DROP_INDICES),
    ):
        value = getattr(asked, key)
        if value not in known:
            yield unknown_choice(key, value, known)


def unknown_choice(key: str, value: Any, known: tuple[str | None, ...], also: str | None = None) -> Problem:
    """A value that is not one of the known, with the nearest of them."""
    names = [repr(item) for item in known] + ([also] if also else [])
    near = closest(value, [item for item in known if item]) if isinstance(value, str) else None
    return Problem(
        key,
        f"what exists is {listing(names)}",
        f"did you mean {near!r}?" if near else f"choose from {listing(names)}",
    )


def _numbers(asked: Asked) -> Iterator[Problem]:
    for key in ("experts", "top_k", "granularity"):
        if not _is_count(getattr(asked, key)):
            yield Problem(key, "it is a whole number above 0", "write one")
    if not _is_number(asked.noise if asked.noise is not None else 0.0) or not 0 <= (
        asked.noise or 0.0
    ) < float("inf"):
        yield Problem("noise", "a standard deviation is finite and at least 0", "try 0.01")
    if not _is_number(asked.router_std) or not 0 < asked.router_std < float("inf"):
        yield Problem(
            "router_std",
            "a standard deviation is finite and above 0",
            "try 0.02; `router: zeros` is for none",
        )
    if asked.drop_ratio is not None and not (_is_number(asked.drop_ratio) and 0 < asked.drop_ratio < 1):
        yield Problem("drop_ratio", "it is a share of each expert's width, between 0 and 1", "try 0.5")
    if type(asked.seed) is not int or not 0 <= asked.seed < 2**32:
        yield Problem("seed", "it is a whole number from 0 to 2³² − 1", "try 0")


def _granular(asked: Asked) -> Iterator[Problem]:
    parts = asked.granularity
    if asked.experts < 2:
        yield Problem("experts", "a mixture needs at least two", "ask for more experts")
    elif asked.experts > MOST_EXPERTS:
        yield Problem("experts", f"at most {MOST_EXPERTS:,} can be made", "ask for fewer experts")
    elif asked.top_k > asked.experts:
        yield Problem(
            "top_k",
            f"a token can go to 1 up to {asked.experts} experts",
            f"lower top_k to at most experts={asked.experts}, or raise experts",
        )
    if asked.experts % parts:
        yield Problem(
            "granularity",
            f"{asked.experts} experts do not divide into groups of {parts} parts",
            f"ask for a multiple of {parts} experts",
        )
    elif asked.router in (None, "virtual-group") and asked.top_k % parts:
        yield Problem(
            "top_k",
            f"a router of virtual groups chooses all {parts} parts of an FFN together, and {asked.top_k} is no "
            f"multiple of {parts}",
            f"ask for top_k={max(1, round(asked.top_k / parts)) * parts}, or for router='normal'",
        )


def _method_options(asked: Asked) -> Iterator[Problem]:
    if asked.drop_ratio is not None and asked.method != "drop":
        yield Problem(
            "drop_ratio", f"method {asked.method!r} drops nothing", "ask for method='drop', or leave it out"
        )
    if asked.branches and asked.method != "btx":
        yield Problem(
            "branches",
            f"method {asked.method!r} has one dense model",
            "ask for method='btx', or leave them out",
        )
    if asked.method != "btx":
        return
    if len(asked.branches) < 2:
        yield Problem(
            "branches",
            f"Branch-Train-MiX takes its experts from several dense models, here are {len(asked.branches)}",
            "name one for each expert",
        )
    elif len(asked.branches) * asked.granularity != asked.experts:
        yield Problem(
            "experts",
            f"{len(asked.branches)} branches cut into {asked.granularity} give {len(asked.branches) * asked.granularity}",
            f"ask for experts={len(asked.branches) * asked.granularity}, or name other branches",
        )


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
