"""Draws tokens at random from the forward passes of a model that a shaper watches."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dpsl.routers.found import FoundRouter
from dpsl.routers.output import effective_logits, infer_scoring, read_output
from dpsl.samples.experts import similarity_of_experts
from dpsl.samples.reservoir import Reservoir
from dpsl.shaper import Shaper
from dpsl.shaping.layout import TableLayout, table_layout
from priorlang.pages.figure import evenly_spaced
from priorlang.routing.samples import RoutingSamples

MOST_LAYERS = 16
"""Layers that are looked at, evenly spaced where there are more."""
MOST_VALUES = 2**21
"""Probabilities that are kept in all."""
MOST_TOKENS = 512
"""Of each group."""
MOST_COMPARED = 256
"""Tokens of a layer that its experts are compared on."""
MOST_EXPERTS = 256
"""Above, experts are not compared: the matrices would be large."""


class TokenSampler:
    """Tokens of this rank, as routers see them. Made by `sampling`.

    Args:
        model: holds the routers.
        shaper: attached to it; knows which token is which.
        seed: of the draw.
    """

    def __init__(self, model: nn.Module, shaper: Shaper, seed: int = 0) -> None:
        self._model, self._shaper = model, shaper
        self._experts = shaper.table.header.experts
        self._layout: TableLayout = table_layout(shaper.table)
        self._places = evenly_spaced(len(shaper.routers), MOST_LAYERS)
        groups = [g for g, place in enumerate(self._layout.group_layer) if place in self._places]
        generator = torch.Generator().manual_seed(seed)
        room = min(MOST_TOKENS, MOST_VALUES // max(len(groups) * self._experts, 1))
        self._routed = {group: Reservoir(room, generator) for group in groups}
        self._inputs = {place: Reservoir(MOST_COMPARED, generator) for place in self._places}
        self._handles = [
            shaper.routers[place].register_forward_hook(partial(self._see, place)) for place in self._places
        ]

    def taken(self) -> RoutingSamples:
        """What was drawn, with the experts compared on it. Runs each expert; other ranks need not call this."""
        drawn = [(group, found.rows()) for group, found in self._routed.items()]
        kept = [(group, rows) for group, rows in drawn if rows is not None]
        group_N = np.concatenate([np.full(len(r), g, np.int32) for g, r in kept] or [np.zeros(0, np.int32)])
        none_NK = np.zeros((0, self._experts), np.float16)
        rows_NK = np.concatenate([r.numpy().astype(np.float16) for _, r in kept] or [none_NK])
        compared = {
            place: similar for place in self._places if (similar := self._similarity(place)) is not None
        }
        layers = [self._shaper.routers[place].layer for place in compared]
        none_MKK = np.zeros((0, self._experts, self._experts), np.float32)
        return RoutingSamples(
            group_N,
            rows_NK,
            np.array(layers, np.int32),
            np.stack([similar.numpy() for similar in compared.values()]) if compared else none_MKK,
            min((len(self._inputs[place]) for place in compared), default=0),
        )

    def detach(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @torch.no_grad()
    def _see(self, place: int, _module: nn.Module, arguments: Any, output: Any) -> None:
        router = self._shaper.routers[place]
        class_N = self._shaper.latest_classes()
        probability_NK = _probabilities(router, output, self._shaper.table.header.top_k)
        if class_N is None or len(class_N) != len(probability_NK):
            return
        class_N = class_N.to(probability_NK.device)
        counts_N = (class_N >= 0) & probability_NK.isfinite().all(-1)
        group_N = self._layout.group_LC[place].to(class_N.device)[class_N.clamp(min=0)]
        for group, found in self._routed.items():
            if self._layout.group_layer[group] == place:
                found.add(probability_NK[counts_N & (group_N == group)])
        hidden = next((given for given in arguments if isinstance(given, Tensor)), None)
        if hidden is not None and hidden.shape[:-1].numel() == len(counts_N):
            self._inputs[place].add(hidden.reshape(len(counts_N), -1)[counts_N])

    def _similarity(self, place: int) -> Tensor | None:
        inputs_NH = self._inputs[place].rows()
        if inputs_NH is None or self._experts > MOST_EXPERTS:
            return None
        router = self._shaper.routers[place]
        block = self._model.get_submodule(router.name.rpartition(".")[0])
        try:
            return similarity_of_experts(block, inputs_NH, self._experts)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            # Hours of training are not given up for a figure.
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            warnings.warn(f"{router.place}: its experts cannot be compared ({reason})", stacklevel=2)
            return None


@contextmanager
def sampling(model: nn.Module, shaper: Shaper | None) -> Iterator[TokenSampler | None]:
    """Draw from the forward passes within; nothing without a shaper."""
    sampler = TokenSampler(model, shaper) if shaper is not None else None
    try:
        yield sampler
    finally:
        if sampler is not None:
            sampler.detach()


def _probabilities(router: FoundRouter, output: Any, top_k: int) -> Tensor:
    read = read_output(router, output)
    scoring = router.scoring or infer_scoring(read, top_k)
    logits_NK = read.recorded_NK.float() if scoring is None else effective_logits(read.recorded_NK, scoring)
    return logits_NK.softmax(-1)
