"""What happens when a forward pass has ended: all its routers at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dpsl.arguments import warn_if_all_equal
from dpsl.blocks import token_blocks
from dpsl.routers.found import FoundRouter
from dpsl.shaping.accumulator import RoutingAccumulator, log_scores
from dpsl.shaping.cdf_memory import CdfMemory
from dpsl.shaping.layout import TableLayout
from dpsl.shaping.metrics import RoutingMetrics
from dpsl.shaping.micro_step import FINGERPRINT_ROWS, MicroStep
from dpsl.shaping.prior_loss import PriorLoss
from dpsl.shaping.routed_tokens import RoutedTokens, SeenLayer, first_rows
from dpsl.shaping.sight import Sight
from priorlang.table.prior_table import UNSHAPED


class WholePass:
    """Shapes and counts the tokens of a forward pass.

    On a GPU the loss of all layers is three launches, and over ranks it is three all-reduces.

    Args:
        routers: those of the table's layers, in its order.
        layout: the table's.
        loss: how logits are compared with priors.
        memory: the tokens of other passes.
        accumulator: statistics to add to.
        metrics: told of the shaping loss.
        factor: the schedule's factor now.
    """

    def __init__(
        self,
        routers: Sequence[FoundRouter],
        layout: TableLayout,
        loss: PriorLoss,
        memory: CdfMemory,
        accumulator: RoutingAccumulator,
        metrics: RoutingMetrics,
        factor: Callable[[], float],
    ) -> None:
        self._routers = tuple(routers)
        self._layout = layout
        self._loss = loss
        self._memory = memory
        self._accumulator = accumulator
        self._metrics = metrics
        self._factor = factor
        self._warned: set[int] = set()

    @torch.inference_mode(False)
    @torch.no_grad()
    def ended(self, step: MicroStep, layers: Sequence[SeenLayer]) -> None:
        """Take what the routers of a forward pass saw; its gradients go to the micro-step."""
        tokens = RoutedTokens.joined(layers)
        sight = Sight(tuple(len(seen.class_N) for seen in layers), layers[0].class_N, step.given.ids)
        if self._memory.looking_ahead:
            # Its tokens count for the passes to come, and nowhere else.
            if self._layout.populations:
                self._memory.foresee(self._loss.observe(tokens), sight)
            return
        factor = self._factor() if step.shapes and self._layout.populations else 0.0
        if factor:
            self._warn_once(layers)
            self._shape(step, layers, tokens, factor, sight)
        # On the CPU in pieces that stay in the cache.
        for block in token_blocks(len(tokens), tokens.logits_NK.shape[1], tokens.logits_NK.device):
            self._watch(tokens[block])

    def _shape(
        self,
        step: MicroStep,
        layers: Sequence[SeenLayer],
        tokens: RoutedTokens,
        factor: float,
        sight: Sight,
    ) -> None:
        carried = self._memory.carried(sight)
        result = self._loss.of_pass(tokens, factor, carried)
        self._memory.keep(result.histogram)
        sizes = sight.tokens
        rows = first_rows(sizes, FINGERPRINT_ROWS, tokens.logits_NK.device)
        firsts = torch.split(tokens.logits_NK[rows], [min(size, FINGERPRINT_ROWS) for size in sizes])
        gradients = torch.split(result.gradient_NK, list(sizes))
        for seen, first_NK, gradient_NK in zip(layers, firsts, gradients, strict=True):
            if seen.place in self._layout.shaped:
                device = seen.logits_NK.device
                step.keep(self._routers[seen.place].layer, first_NK.to(device), gradient_NK.to(device))
        self._metrics.add_shaping(result, factor, carried.passes, {seen.place for seen in layers})

    def _warn_once(self, layers: Sequence[SeenLayer]) -> None:
        for place, logits_NK, _, class_N in layers:
            if place not in self._warned and place in self._layout.shaped and len(class_N):
                self._warned.add(place)
                table = self._loss.table
                population_C = torch.from_numpy(table.population[place].astype("int64")).to(class_N.device)
                population_N = torch.where(class_N >= 0, population_C[class_N.clamp(min=0)], UNSHAPED)
                warn_if_all_equal(
                    logits_NK, population_N, self._routers[place].place, table.header.populations
                )

    def _watch(self, tokens: RoutedTokens) -> None:
        # Padding may hold anything, and NaN times 0 is NaN.
        logits_NK: Tensor = tokens.logits_NK.masked_fill(~tokens.counted()[:, None], 0.0)
        log_p_NK, ell_NK = log_scores(logits_NK)
        self._accumulator.add(tokens, log_p_NK, ell_NK)
