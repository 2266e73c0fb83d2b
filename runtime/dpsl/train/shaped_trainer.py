"""A prior in any of transformers' trainers.

    class ShapedTrainer(dpsl.ShapingMixin, transformers.Trainer): ...
    ShapedTrainer(model=model, shaper=shaper, data_collator=dpsl.TokenCollator(collator, table), …).train()

Scales. transformers' loss of a micro-batch is Σ own tokens / N · world size, N the answer tokens of all ranks and
micro-batches; data parallelism averages over ranks; so the sum over micro-batches is the mean over all tokens. The
shaping term is a mean over micro-batches, so it enters with 1 / micro-batches. A loss that is a mean of its own batch is
divided by their number afterwards: there the gradient that arrives is that factor already.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from torch import Tensor, nn
from transformers import PrinterCallback, ProgressCallback

from dpsl.audit import Audit
from dpsl.errors import DpslError
from dpsl.shaper import Shaper
from dpsl.tokens import TOKEN_ATTRIBUTES
from dpsl.train.callbacks import RegularizerCallback, ScheduleCallback
from dpsl.train.described import Described
from dpsl.train.first_step import log_audit, loss_scale
from dpsl.train.processes import world_size
from dpsl.train.sampling import warn_of_grouped_samples

_DETAIL = "."
"""In the name of a metric of one layer or member; these go to trackers, not to what is printed or kept in
trainer_state.json."""


class ShapingMixin:
    """Put it before a trainer's class: `class ShapedTrainer(ShapingMixin, Trainer)`.

    The routers are told which token is which, from the batch's `token_attributes` (see `TokenCollator`); their gradient
    has the right scale under any accumulation; the prior's schedule follows the steps; and every row of logs
    carries the routing metrics, to whatever `report_to` names. Evaluation is left alone.

    Args:
        shaper: from `dpsl.attach`, on this trainer's model; None: nothing is shaped.
        regularizers: from `attach_regularizers`, or None.
        shaped_before: shaped steps before this training, for the prior's schedule.
        shaped_total: shaped steps in all; None: this training's.
        audit: watch the first micro-step, log what arrived at each router, and stop where nothing does.
        arguments: the trainer's own.

    Attributes:
        audit: what the audit found; None before it.
    """

    def __init__(
        self,
        *positional: Any,
        shaper: Shaper | None = None,
        regularizers: Any = None,
        shaped_before: int = 0,
        shaped_total: int | None = None,
        audit: bool = True,
        **arguments: Any,
    ) -> None:
        self.router_terms = tuple(terms for terms in (shaper, regularizers) if terms is not None)
        self.audit: dict[str, Any] | None = None
        self._begin_audit = None
        if audit and (regularizers is not None or (shaper is not None and shaper.shapes)):
            self._begin_audit = partial(Audit, shaper=shaper, regularizers=regularizers)
        self._shaped_total = shaped_total
        super().__init__(*positional, **arguments)
        this: Any = self
        _check_world(this.args.world_size)
        if shaper is not None:
            if shaper.shapes:
                this.add_callback(ScheduleCallback(shaper, shaped_before, shaped_total))
            warn_of_grouped_samples(this.args, shaper.table)
        if regularizers is not None:
            this.add_callback(RegularizerCallback(regularizers))

    def training_step(self, *positional: Any, **options: Any) -> Any:
        """The trainer's micro-step; the first is audited.

        Raises:
            AuditError: a router that would not learn, or a term that would not teach it.
        """
        this, parent = (self, super())  # type: Any, Any
        begin, self._begin_audit = self._begin_audit, None
        if begin is None:
            return parent.training_step(*positional, **options)
        audit = begin(this.model, total=self._shaped_total or this.state.max_steps)
        loss = parent.training_step(*positional, **options)
        self.audit = audit.finish(this.current_gradient_accumulation_steps, loss_scale=loss_scale(this))
        self.tell_audit(self.audit)
        return loss

    def tell_audit(self, result: dict[str, Any]) -> None:
        """What becomes of the audit, on every rank: its lines are logged."""
        log_audit(result)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The trainer's loss, with the routers told which token is which."""
        inputs = dict(inputs)
        attributes = inputs.pop(TOKEN_ATTRIBUTES, None)
        parent: Any = super()
        if not model.training or not self.router_terms:
            return parent.compute_loss(
                model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch
            )
        with self.described(attributes):
            # Outputs that nobody asked for may cost another forward pass (TRL's SFTTrainer), counted as tokens.
            found = parent.compute_loss(
                model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch
            )
        factor = self.router_factor(num_items_in_batch)
        for terms in self.router_terms:
            terms.scale_with(found[0] if return_outputs else found, factor)
        return found

    def described(self, attributes: Mapping[str, Any] | None) -> AbstractContextManager[None]:
        """Within, the model's routers know their tokens.

        Raises:
            DpslError: the batch says nothing of them.
        """
        if attributes is None:
            raise DpslError(
                "the trainer's batch",
                f"it has no `{TOKEN_ATTRIBUTES}`, which tell the routers what each token is",
                "wrap the collator: data_collator=dpsl.TokenCollator(collator, table)",
            )
        return Described(*self.router_terms).tokens(**attributes)

    def router_factor(self, num_items_in_batch: Tensor | int | None) -> float:
        """By what the gradient that arrives at the loss is multiplied, so that micro-batches average."""
        this: Any = self
        summed = this.loss_is_scaled_for_ga
        if summed is None:
            by_model = this.model_accepts_loss_kwargs and num_items_in_batch is not None
            summed = by_model or this.compute_loss_func is not None
        return 1.0 / this.current_gradient_accumulation_steps if summed else 1.0

    def log(self, logs: dict[str, float], *arguments: Any, **options: Any) -> None:
        """The trainer's row, with the routing metrics; those of single layers and members go to trackers alone."""
        metrics = self.router_metrics() if "loss" in logs else {}
        logs.update({name: value for name, value in metrics.items() if _DETAIL not in name})
        parent: Any = super()
        parent.log(logs, *arguments, **options)
        details = {name: value for name, value in metrics.items() if _DETAIL in name}
        if details:
            self._report(details)

    def router_metrics(self) -> dict[str, float]:
        """Metrics of the routers since the last row, over all ranks, each of which must call this.

        Raises:
            AttachError: logits that held NaN or infinity.
        """
        row: dict[str, float] = {}
        for terms in self.router_terms:
            if isinstance(terms, Shaper):
                terms.check_finite(across_ranks=True)
            row |= terms.metrics(across_ranks=True)
        return row

    def _report(self, details: dict[str, float]) -> None:
        this: Any = self
        for callback in this.callback_handler.callbacks:
            if not isinstance(callback, (PrinterCallback, ProgressCallback)):
                callback.on_log(this.args, this.state, this.control, logs=dict(details), model=this.model)

    def _set_signature_columns_if_needed(self) -> None:
        """The columns that the token collator reads are used, though the model never sees them."""
        this, parent = (self, super())  # type: Any, Any
        parent._set_signature_columns_if_needed()
        for column in getattr(this.data_collator, "columns", ()):
            if column not in this._signature_columns:
                this._signature_columns.append(column)


def _check_world(known: int) -> None:
    """Without a GPU, transformers does not join processes unless it is told to use the CPU.

    Raises:
        DpslError: this process trains by itself, though it was launched beside others.
    """
    if known < world_size():
        raise DpslError(
            "TrainingArguments",
            f"{world_size()} processes were launched, and transformers would train each by itself",
            "on a machine without a GPU write use_cpu=True",
        )
