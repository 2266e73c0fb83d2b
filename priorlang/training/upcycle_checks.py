"""What the values of an `upcycle:` block must be to each other, wherever they come from: a file, or Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from priorlang.diagnostics.suggest import closest, listing
from priorlang.training.upcycle import default_router

METHODS = ("sparse", "drop", "btx")
SCALES = (None, "preserve", "he", "he-down")
ROUTERS = (None, "normal", "zeros", "virtual-group", "copied")
DROP_INDICES = ("shared", "per-matrix")
MOST_EXPERTS = 4096
"""Far above any mixture there is: more is a slip, and would build for hours."""


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
    def shared_expert(self) -> bool: ...
    @property
    def renormalize(self) -> bool: ...
    @property
    def seed(self) -> int: ...
    @property
    def drop_ratio(self) -> float | None: ...
    @property
    def drop_indices(self) -> str: ...
    @property
    def router(self) -> str | None: ...
    @property
    def router_from(self) -> str | None: ...
    @property
    def router_std(self) -> float: ...
    @property
    def branches(self) -> tuple[str, ...]: ...


class Problem(NamedTuple):
    """One value that cannot be: its key, what is wrong, and what to do."""

    key: str
    problem: str
    fix: str

    def message(self, asked: Asked) -> str:
        """In one line, with the value that was asked for."""
        return f"`{self.key}` is {shown(getattr(asked, self.key))}: {self.problem}; {self.fix}"


def problems(asked: Asked) -> Iterator[Problem]:
    """Everything about the options that no model could satisfy."""
    yield from _choices(asked)
    yield from _numbers(asked)
    yield from _types(asked)
    yield from _router(asked)
    yield from _method_options(asked)
    if not all(_is_count(value) for value in (asked.experts, asked.top_k, asked.granularity)):
        return
    yield from _granular(asked)
    yield from _branches(asked)


def shown(value: Any) -> str:
    """A value of the block as people write it: the names of a list, or `none` without any."""
    if isinstance(value, (tuple, list)):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


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
    elif (
        asked.router or default_router(parts, asked.router_from)
    ) == "virtual-group" and asked.top_k % parts:
        yield Problem(
            "top_k",
            f"a router of virtual groups chooses all {parts} parts of an FFN together, and {asked.top_k} is no "
            f"multiple of {parts}",
            f"ask for top_k={max(1, round(asked.top_k / parts)) * parts}, or for router='normal'",
        )


def _types(asked: Asked) -> Iterator[Problem]:
    for key in ("shared_expert", "renormalize"):
        if type(getattr(asked, key)) is not bool:
            yield Problem(key, "it is yes or no", "say True or False")
    if not _are_texts(asked.branches):
        yield Problem("branches", "they are dense models or their folders", "give a list of them")
    if asked.router_from is not None and not isinstance(asked.router_from, str):
        yield Problem("router_from", "it is a model with experts, or its folder", "name the folder")


def _router(asked: Asked) -> Iterator[Problem]:
    if asked.router == "copied" and asked.router_from is None:
        yield Problem("router", "nothing says from where", "name a folder with experts as router_from")
    elif asked.router in ("normal", "zeros", "virtual-group") and asked.router_from is not None:
        yield Problem("router", "router_from copies the routers of another model", "leave out one of the two")


def _method_options(asked: Asked) -> Iterator[Problem]:
    if asked.method not in METHODS:
        return
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


def _branches(asked: Asked) -> Iterator[Problem]:
    if asked.method != "btx" or not _are_texts(asked.branches):
        return
    made = len(asked.branches) * asked.granularity
    if len(asked.branches) < 2:
        yield Problem(
            "branches",
            f"Branch-Train-MiX takes its experts from several dense models, here are {len(asked.branches)}",
            "name one for each expert",
        )
    elif made != asked.experts:
        yield Problem(
            "experts",
            f"{len(asked.branches)} branches cut into {asked.granularity} give {made}",
            f"ask for experts={made}, or name other branches",
        )


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0


def _are_texts(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, str) for item in value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
