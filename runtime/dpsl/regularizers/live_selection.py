"""The regularizers that change what is chosen: biases that follow the load, and experts that are barred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from dpsl.errors import AttachError
from dpsl.ranks import summed
from dpsl.regularizers.deepseek_bias import updated_bias
from dpsl.regularizers.manual_modality import allowed_experts, attributes_of
from dpsl.regularizers.selection_hook import add_bias, bias_of, drop_unused_hook, selection_hook
from dpsl.regularizers.terms import Term
from dpsl.routers.found import FoundRouter
from dpsl.shaping.given import Given, Layout
from dpsl.shaping.micro_step import MicroStep
from dpsl.shaping.passes import ForwardPasses
from dpsl.shaping.recompute import in_backward
from dpsl.shaping.token_classes import Codes, TokenClasses, token_classes
from priorlang.table.prior_table import TableAttribute
from priorlang.training.regularizers import DeepseekBias, ManualModality


class LiveSelection:
    """Biases and barred experts of the routers of a live model.

    Args:
        model: as it was given to `attach_regularizers`.
        routers: of the model.
        terms: the regularizers; those that are no selection are left out.
        passes: which forward pass this is.
        attributes: of tokens.
    """

    def __init__(
        self,
        model: nn.Module,
        routers: Sequence[FoundRouter],
        terms: Sequence[Term],
        passes: ForwardPasses,
        attributes: Sequence[TableAttribute],
    ) -> None:
        self._passes = passes
        self._biased = {
            router.layer: (router, term)
            for term in terms
            if isinstance(term.plan, DeepseekBias)
            for router in routers
            if term.covers(router.layer)
        }
        masks = [term for term in terms if isinstance(term.plan, ManualModality)]
        self._attributes = attributes_of([term.plan for term in masks], attributes)
        self._masked: dict[int, FoundRouter] = {}
        self._allowed_CK: dict[int, Tensor] = {}
        self._slots_K: dict[int, Tensor] = {}
        self.raw_NK: dict[int, Tensor] = {}
        """The logits of each layer's latest run as they were before any was barred."""
        for router in routers:
            plans = [term.plan for term in masks if term.covers(router.layer)]
            if plans:
                self._allowed_CK[router.layer] = allowed_experts(
                    plans, self._attributes, _experts_of(router), router.top_k or 1
                )
                self._masked[router.layer] = router
        for router, _ in self._biased.values():
            add_bias(model, router)
        for layer, router in self._masked.items():
            selection_hook(router).allowed = lambda logits_NK, layer=layer: self._allowed(layer, logits_NK)

    @property
    def layers(self) -> frozenset[int]:
        """The layers that any of this is on."""
        return frozenset(self._biased) | frozenset(self._masked)

    @property
    def bars(self) -> bool:
        """Whether any expert is barred, so that tokens must be described in evaluation too."""
        return bool(self._masked)

    @property
    def counts(self) -> bool:
        """Whether optimizer steps must be told apart."""
        return bool(self._biased)

    def classes(self, given: Mapping[str, Codes], mask: Tensor | None) -> TokenClasses:
        """The token classes that experts are barred by; without any, only padding."""
        own = {
            attribute.name: given[attribute.name] for attribute in self._attributes if attribute.name in given
        }
        return token_classes(self._attributes, own, mask)

    def count(self, slots_K: Mapping[int, Tensor]) -> None:
        """Add what the experts of each layer took in a training pass on this rank."""
        for layer in self._biased:
            if layer in slots_K:
                before = self._slots_K.get(layer)
                self._slots_K[layer] = slots_K[layer] if before is None else before + slots_K[layer]

    @torch.no_grad()
    def end_step(self, progress: tuple[int, int]) -> None:
        """Move the biases by the counts of all ranks and micro-batches."""
        if not self._biased:
            return
        counted = [
            self._slots_K.get(layer, torch.zeros(_experts_of(router))).double()
            for layer, (router, _) in self._biased.items()
        ]
        sizes = [len(slots_K) for slots_K in counted]
        biases = [bias_of(router) for router, _ in self._biased.values()]
        device = next(bias.device for bias in biases if bias is not None)
        flat = summed(torch.cat([slots_K.to(device) for slots_K in counted]))
        self._slots_K = {}
        parts = torch.split(flat, sizes)
        for (_, term), bias_K, slots_K in zip(self._biased.values(), biases, parts, strict=True):
            if bias_K is not None:
                rate = term.plan.update_rate * term.factor(progress)
                bias_K.copy_(updated_bias(bias_K.float(), slots_K, rate, center=term.plan.center))

    def metrics(self) -> dict[str, float]:
        """The largest less the smallest bias of each layer, and their largest over layers; the same on every rank."""
        ranges: dict[str, list[float]] = {}
        metrics: dict[str, float] = {}
        for layer, (router, term) in self._biased.items():
            bias_K = bias_of(router)
            if bias_K is not None:
                spread = float(bias_K.max() - bias_K.min())
                ranges.setdefault(f"{term.name}_range", []).append(spread)
                metrics[f"layer.{layer}.{term.name}_range"] = spread
        return {**{name: max(spreads) for name, spreads in ranges.items()}, **metrics}

    def detach(self) -> None:
        """Let every token use every expert again. Biases stay in force: they are part of what was learned."""
        for router in self._masked.values():
            selection_hook(router).allowed = None
            drop_unused_hook(router)
        self._masked.clear()

    def _allowed(self, layer: int, logits_NK: Tensor) -> Tensor:
        """Which experts the tokens of a router's present run may use."""
        classes, layout = self._classes_of_run(layer, logits_NK)
        table_CK = self._allowed_CK[layer] = self._allowed_CK[layer].to(logits_NK.device)
        # Padding is class −1: the last row.
        return table_CK[classes.of_tokens(len(logits_NK), logits_NK.device, layout)]

    def _classes_of_run(self, layer: int, logits_NK: Tensor) -> tuple[TokenClasses, Layout]:
        self.raw_NK[layer] = logits_NK.detach()
        if in_backward():
            step: MicroStep | None = self._passes.recomputed(layer, self.raw_NK[layer])
            classes, given = (step.classes, step.given) if step is not None else (None, Given())
        else:
            classes, given = self._passes.described, self._passes.given
        if classes is None:
            raise AttachError(
                self._masked[layer].place,
                "`manual_modality` bars experts by what a token is, and nobody has said what these are",
                "run the model inside `with regularizers.tokens(mask=…, …):`, in evaluation too, or detach",
            )
        return classes, given.layout


def _experts_of(router: FoundRouter) -> int:
    return router.experts or int(next(router.module.parameters()).shape[0])
