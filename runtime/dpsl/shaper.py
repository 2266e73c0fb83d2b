"""The live link between a prior table and a model, whose routers it shapes from outside; `dpsl.attach` makes it.

Every router is hooked. When a forward pass ends, the logits of all of them give statistics and, where a token
class has a prior, the gradient of the shaping loss, in one call; in the backward pass that gradient joins the
router's own, times the gradient that arrived at the loss. No model code is changed, and `detach` removes every trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from dpsl.errors import AttachError
from dpsl.lattice import BINS
from dpsl.live_hooks import LiveLink
from dpsl.routers.claims import Claims
from dpsl.routers.found import FoundRouter
from dpsl.shaping.accumulator import RoutingAccumulator
from dpsl.shaping.cdf_memory import CdfMemory
from dpsl.shaping.metrics import RoutingMetrics
from dpsl.shaping.passes import ForwardPasses
from dpsl.shaping.prior_loss import PriorLoss
from dpsl.shaping.progress import checked_progress
from dpsl.shaping.router_hook import RouterHook
from dpsl.shaping.schedule import schedule_factor
from dpsl.shaping.token_classes import Codes, token_classes
from dpsl.shaping.whole_pass import WholePass
from dpsl.shaping.window_state import passes_of, state_of
from priorlang.routing.statistics import RoutingStatistics
from priorlang.table.prior_table import PriorTable


@dataclass(frozen=True)
class Arrival:
    """What one router got in the latest backward pass.

    Attributes:
        layer: decoder-layer index.
        router: path of its module.
        gradient_norm: norm of the shaping gradient handed to its logits, all factors included; None: none
            came.
        scale: the gradient that arrived at the loss, times the caller's factor; None: none came.
    """

    layer: int
    router: str
    gradient_norm: float | None
    scale: float | None


SHAPED = Claims(
    "another shaper shapes this router already: together they would count twice",
    "call detach() on that one first",
)


_WORD = 4
"""Bytes of a count, an int32, and of an end, a float32."""


class Shaper(LiveLink):
    """The live link between a prior table and a model; made by `attach`.

    Attributes:
        table: the prior table.
        routers: the routers found, in the order of the table's layers.
    """

    def __init__(
        self,
        model: nn.Module,
        routers: tuple[FoundRouter, ...],
        loss: PriorLoss,
        memory: CdfMemory,
        *,
        shaping: bool,
    ) -> None:
        self.table: PriorTable = loss.table
        self.routers = routers
        self._shaping = shaping
        self._loss = loss
        self._memory = memory
        self._progress: tuple[int, int] | None = None
        header, layout = loss.table.header, loss.layout
        self._accumulator = RoutingAccumulator(layout, header.experts)
        self._metrics = RoutingMetrics(self._accumulator, loss)
        whole = WholePass(
            routers, layout, loss, memory, self._accumulator, self._metrics, self.schedule_factor
        )
        self._passes = ForwardPasses("shaper", shaping=shaping, on_end=whole.ended)
        self._handles = self._passes.watch(model)
        for place, router in enumerate(routers):
            shapes_now = partial(self._shapes_now, place in layout.shaped)
            hook = RouterHook(router, place, header, self._passes, shapes_now)
            self._handles.append(router.register_forward_hook(hook))
        if shaping:
            SHAPED.take(routers)

    def tokens(self, mask: Tensor | None = None, **attributes: Codes) -> AbstractContextManager[None]:
        """Describe the tokens of the forward passes within the `with`.

        Args:
            mask: [B, S], 0 for padding, which counts nowhere; None: every token counts.
            attributes: for each attribute of the prior, codes [B, S] or [B], a member name for each
                sequence, or one for all. One that is left out is `unknown`, where the prior has that
                member.

        Raises:
            AttachError: they do not fit the prior or each other.
        """
        return self._passes.describing(token_classes(self.table.header.attributes, attributes, mask))

    @contextmanager
    def look_ahead(self) -> Iterator[None]:
        """Count the tokens of all micro-batches of an optimizer step before its first one is trained on.

        Each of the forward passes within runs inside its own `shaper.tokens(…)`, without gradient, in the
        order of those to come; these are then ranked in the CDF of the whole step, exactly. Every rank must
        look ahead over as many.

        Raises:
            AttachError: the shaper has exact ranks or the micro scope, which carry nothing.
        """
        if self._loss.ranks == "sort" or self._loss.scope == "micro":
            raise AttachError(
                "shaper.look_ahead()",
                "only histograms of the global scope can be carried to another pass",
                'attach with ranks="histogram" and scope="global"',
            )
        with self._memory.look_ahead():
            yield

    @property
    def shapes(self) -> bool:
        """False: it only watches."""
        return self._shaping

    @property
    def window(self) -> int:
        """Forward passes whose tokens make up an empirical CDF."""
        return self._memory.window

    def state_dict(self) -> dict[str, Tensor]:
        """The tokens that a window remembers, for a checkpoint; empty with a window of 1. Equal on every rank."""
        return state_of(self._memory.remembered(), self.table)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Remember the tokens of a checkpoint.

        Raises:
            AttachError: they are of another prior, of a longer window, or of no shaper.
        """
        device = next(self.routers[0].module.parameters()).device
        self._memory.remember(passes_of(state, self.table, self._loss.layout.populations, device))

    def bytes_exchanged(self, ranks: int | None = None) -> int:
        """Bytes that each rank puts into all-reduces for one forward pass: the histograms and their ends.

        Exact ranks have none: there every rank gathers the ℓ of all, experts × tokens × 4 bytes a layer.

        Args:
            ranks: how many there would be; None: those there are.
        """
        together = ranks > 1 if ranks is not None else self._loss.group() is not None
        if not self._shaping or self._loss.ranks == "sort" or self._loss.scope == "micro" or not together:
            return 0
        populations = self._loss.layout.populations
        return (populations + 1) * self.table.header.experts * (BINS + 2) * _WORD if populations else 0

    def set_progress(self, step: int, total: int) -> None:
        """Say how many shaped optimizer steps are done, of how many: this drives the prior's schedule.

        Raises:
            AttachError: they are no numbers of steps, or more are done than there are.
        """
        self._progress = checked_progress("shaper", step, total)

    def schedule_factor(self) -> float:
        """The factor on every weight now.

        Raises:
            AttachError: the prior has a schedule, and nobody has said where in it training is.
        """
        header = self.table.header
        if header.schedule and self._progress is None:
            raise AttachError(
                "schedule",
                "the prior has one, and training has not said where in it it is",
                "call shaper.set_progress",
            )
        return schedule_factor(header.schedule, header.schedule_unit, *(self._progress or (0, 0)))

    def scale_with(self, loss: Tensor, factor: float = 1.0) -> None:
        """Scale the shaping gradient by the gradient that will arrive at `loss`, times `factor`.

        For a loss that is not the model's own `output.loss`, which is taken otherwise. It covers every
        forward pass whose backward pass is still to come. `factor` corrects a trainer that scales gradients
        elsewhere.

        Raises:
            AttachError: the loss is no differentiable scalar.
        """
        self._passes.bind(loss, factor)

    def metrics(self, *, across_ranks: bool = False) -> dict[str, float]:
        """Means over the forward passes since the last call; empty where there was none.

        `dpsl`: Σ over layers of weight · loss, and `dpsl_above_floor`: the same without what the scatter of
            ranks alone accounts for (both only where shaping);
        `load_cov`: deviation over mean of the experts' load, the top-k slots they took; `load_max`: largest over
            mean load; `mass_cov` and `mass_max`: the same of their probability mass;
        `routing_entropy`: exp of a token's mean entropy, over K; `dead_fraction`: experts without a token;
        `top1_score`: mean largest p.

        Means over layers, and for each layer as `layer.3.load_cov`; of the tokens of each member of an attribute,
        a mean over layers, as `modality.vision.load_cov`, unless there are very many token classes.

        Args:
            across_ranks: over the tokens of all ranks, each of which must then call this.
        """
        return self._metrics.take(shaped=self._shaping, across_ranks=across_ranks)

    def check_finite(self, *, across_ranks: bool = False) -> None:
        """Refuse logits that held NaN or infinity in the forward passes since the last `metrics`.

        Costs one wait for the device. −∞ is a logit like any other: it bars an expert.

        Args:
            across_ranks: over the tokens of all ranks, each of which must then call this.

        Raises:
            AttachError: naming the first such layer and its number of tokens.
        """
        for layer, count in self._metrics.nonfinite(across_ranks=across_ranks).items():
            place = next(router.place for router in self.routers if router.layer == layer)
            raise AttachError(
                place,
                f"the logits of {count:,} token(s) held NaN or infinity",
                "lower the learning rate, or train in float32 or bfloat16, and look at the step before",
            )

    def statistics(self) -> RoutingStatistics:
        """Routing since `reset_statistics`, over all ranks, each of which must call this."""
        return self._accumulator.statistics(self.table)

    def reset_statistics(self) -> None:
        """Start the statistics anew."""
        self._accumulator.reset()

    def arrivals(self) -> tuple[Arrival, ...]:
        """For each router, the shaping gradient that the latest forward pass got in its backward pass."""
        scale = self._passes.arrived_scale()
        arrived = self.arrived_gradients()
        return tuple(
            Arrival(
                router.layer,
                router.name,
                float(arrived[router.layer].norm()) if router.layer in arrived else None,
                scale,
            )
            for router in self.routers
        )

    def arrived_gradients(self) -> dict[int, Tensor]:
        """By layer, the shaping gradient [N, K] that the latest forward pass got in its backward pass."""
        return self._passes.arrived_gradients()

    def _shapes_now(self, shaped: bool) -> bool:
        return shaped and self.schedule_factor() != 0

    def latest_classes(self) -> Tensor | None:
        """[N] int64, the token class of each token of the latest forward pass, -1 where padding; None: there was none."""
        step = self._passes.latest
        return step.classes.resolved() if step is not None else None

    def detach(self) -> None:
        """Remove every hook: the model is as it was. Calling it again does nothing."""
        if self._handles and self._shaping:
            SHAPED.release(self.routers)
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._passes.close()
