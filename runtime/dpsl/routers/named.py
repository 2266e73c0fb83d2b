"""Routers that a user names: any module whose output holds logits [.., K].

Names are paths of modules; `*` stands for one part of a path, `**` for any number of them. The layer is the number that
the first `*` stands for, else the first number of the path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import nn

from dpsl.errors import AttachError
from dpsl.routers.found import NAMED, FoundRouter, first_int, layer_of
from priorlang.diagnostics.suggest import closest, listing

_EXPERTS = ("num_experts", "n_experts", "num_local_experts", "out_features")
_TOP_K = ("top_k", "num_experts_per_tok")
_WILD = {"**": r".+", "*": r"([^.]+)", "?": r"[^.]"}


def find_named(
    model: nn.Module, patterns: Iterable[str], places: Mapping[str, int], known: Iterable[FoundRouter]
) -> list[FoundRouter]:
    """The modules that patterns match, each once.

    Args:
        model: where to look.
        patterns: paths, with or without wildcards.
        places: for a pattern, where in the module's output tuple the logits are, where that was said.
        known: routers that an adapter found: these are taken as it describes them.

    Raises:
        AttachError: a pattern that matches nothing, or something that is no router.
    """
    by_name = {router.name: router for router in known}
    modules = dict(model.named_modules())
    chosen: dict[str, FoundRouter] = {}
    for pattern in patterns:
        matches = [match for name in modules if name and (match := _expression(pattern).fullmatch(name))]
        if not matches:
            raise _matches_nothing(pattern, by_name, modules)
        for match in matches:
            name = match.string
            router = by_name.get(name) if pattern not in places else None
            chosen[name] = router or _described(match, modules[name], pattern, places.get(pattern))
    return list(chosen.values())


def _expression(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*|\*|\?)", pattern)
    return re.compile("".join(_WILD.get(part) or re.escape(part) for part in parts))


def _described(match: re.Match[str], module: nn.Module, pattern: str, index: int | None) -> FoundRouter:
    place, name = f"routers: {pattern!r}", match.string
    if isinstance(module, nn.ModuleList | nn.ModuleDict) or not any(True for _ in module.parameters()):
        raise AttachError(
            place,
            f"it matches {name!r}, a {type(module).__name__}, which computes no logits",
            "name the module that turns hidden states into logits, such as 'blocks.*.gate'",
        )
    numbers = [int(part) for part in match.groups() if part.isdecimal()]
    layer = numbers[0] if numbers else layer_of(name)
    if layer is None:
        raise AttachError(
            place,
            f"{name!r} has no number that could be its decoder layer",
            "describe it: routers=[dpsl.routers.found.FoundRouter(name, module, layer, …)]",
        )
    experts, top_k = first_int((module,), _EXPERTS), first_int((module,), _TOP_K)
    return FoundRouter(name, module, layer, experts, top_k, index, NAMED)


def _matches_nothing(
    pattern: str, by_name: Mapping[str, FoundRouter], modules: Mapping[str, nn.Module]
) -> AttachError:
    near = closest(pattern, by_name) or closest(pattern, modules)
    return AttachError(
        f"routers: {pattern!r}",
        "no module of the model has this name",
        f"did you mean {near!r}?" if near else f"found: {listing(by_name) or 'no router by itself'}",
    )
