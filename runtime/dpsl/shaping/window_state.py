"""What a window remembers, as tensors for a checkpoint, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dpsl.errors import AttachError
from dpsl.histogram import CarriedHistogram
from dpsl.lattice import BINS, Lattice
from priorlang.table.prior_table import PriorTable

PLACE = "shaper.load_state_dict(…)"
_TABLE = "table"
_NAME = re.compile(r"(\d+)\.(ends|counts)")


def state_of(behind: Sequence[CarriedHistogram], table: PriorTable) -> dict[str, Tensor]:
    """The histograms of passes, oldest first, and the prior they were ranked under; nothing where there are none."""
    state = {
        f"{place}.{name}": values.cpu().contiguous()
        for place, histogram in enumerate(behind)
        for name, values in (("ends", histogram.ends_2KQ), ("counts", histogram.counts_KQB))
    }
    return {**state, _TABLE: _mark(table)} if state else {}


def passes_of(
    state: Mapping[str, Any], table: PriorTable, populations: int, device: torch.device
) -> list[CarriedHistogram]:
    """The histograms that `state_of` was given.

    Raises:
        AttachError: it is no such state, or one of another prior.
    """
    if not isinstance(state, Mapping):
        raise _no_state(f"it is {type(state).__name__}")
    if not state:
        return []
    state, mark = {name: values for name, values in state.items() if name != _TABLE}, state.get(_TABLE)
    if not isinstance(mark, Tensor):
        raise _no_state("it does not say which prior its tokens were ranked under")
    if not torch.equal(mark.cpu(), _mark(table)):
        raise AttachError(PLACE, "its tokens were ranked under another prior", "begin with an empty window")
    experts = table.header.experts
    shapes = {"ends": (2, experts, populations), "counts": (experts, populations, BINS)}
    for name, values in state.items():
        found = _NAME.fullmatch(name) if isinstance(name, str) else None
        if found is None:
            raise _no_state(f"nothing of a shaper is called {name!r}")
        if not isinstance(values, Tensor) or tuple(values.shape) != shapes[found.group(2)]:
            form = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise _no_state(f"{name!r} is {form}, not {list(shapes[found.group(2)])}")
    number = len({name.partition(".")[0] for name in state})
    wanted = {f"{place}.{name}" for place in range(number) for name in shapes}
    if missing := sorted(wanted - set(state)):
        raise _no_state(f"it lacks {missing[0]!r}")
    passes = []
    for place in range(number):
        ends_2KQ, counts_KQB = (state[f"{place}.{name}"].to(device) for name in ("ends", "counts"))
        tokens_Q = counts_KQB[0].sum(-1)
        passes.append(CarriedHistogram(ends_2KQ, Lattice.spanning(ends_2KQ), counts_KQB, tokens_Q))
    return passes


def _mark(table: PriorTable) -> Tensor:
    return torch.tensor(list(table.header.normal_form.encode()), dtype=torch.uint8)


def _no_state(problem: str) -> AttachError:
    return AttachError(
        PLACE, f"it is no state of a shaper: {problem}", "give what shaper.state_dict() returned"
    )
