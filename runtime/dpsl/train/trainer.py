"""transformers' Trainer with the prior in it.

Scales. transformers' loss of a micro-batch is Σ own tokens / N · world size, N the answer tokens of all ranks and
micro-batches; DeepSpeed averages over ranks; so the sum over micro-batches is the mean over all tokens. The shaping term
is a mean over micro-batches, so it enters with 1 / micro-batches. A loss that is a mean of its own batch is
divided by their number afterwards: there the gradient that arrives is that factor already.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer

from dpsl.shaper import Shaper
from dpsl.train.data.collator import TOKEN_ATTRIBUTES
from dpsl.train.processes import barrier, gather_sum
from dpsl.train.run_folder import StageFolder
from dpsl.train.window import save_window


class StageTrainer(Trainer):  # type: ignore[misc]
    """Trains one stage.

    Args:
        folder: the stage's part of the run folder.
        router_terms: what is attached to the routers: a Shaper, Regularizers, both or nothing.
        routers: names of the routers' parameters.
        router_learning_rate: theirs, or None for the common one.
        keep: checkpoints to keep.
        look_ahead: the Shaper that counts all micro-batches of a step beforehand, or None.
        on_row: is given every row of metrics, on every rank.
        arguments: Trainer's own.

    Attributes:
        after_first_micro_step: called once with its batch, before any parameter changes.
    """

    def __init__(
        self,
        *,
        folder: StageFolder,
        router_terms: Sequence[Any],
        routers: frozenset[str],
        router_learning_rate: float | None,
        keep: int,
        look_ahead: Any,
        on_row: Callable[[dict[str, Any]], None],
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.remove_callback(PrinterCallback)
        self._folder = folder
        self._router_terms = tuple(router_terms)
        self._routers = routers
        self._router_learning_rate = router_learning_rate
        self._keep = keep
        self._look_ahead = look_ahead
        self._on_row = on_row
        self.after_first_micro_step: Callable[[dict[str, Any]], None] | None = None
        self._tokens = 0
        self._since = time.perf_counter()

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Transformers' optimizer, with the routers in a group of their own where they have their own rate."""
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if self._router_learning_rate is not None:
            own = [
                p for name, p in self.model.named_parameters() if name in self._routers and p.requires_grad
            ]
            _move_to_group(optimizer, own, self._router_learning_rate)
        optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["params"]]
        return optimizer

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor | int | None]:
        """The micro-batches of a step, counted beforehand where the shaper looks ahead."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self._look_ahead is not None:
            self._count_beforehand(batches)
        return batches, items

    def _count_beforehand(self, batches: Sequence[dict[str, Any]]) -> None:
        self.model_wrapped.train()
        # The step's own random numbers stay what they are.
        with self._look_ahead.look_ahead(), torch.random.fork_rng():
            for batch in batches:
                inputs = dict(self._prepare_inputs(batch))
                attributes = inputs.pop(TOKEN_ATTRIBUTES)
                with self._look_ahead.tokens(mask=inputs["attention_mask"], **attributes):
                    self.model_wrapped(**inputs)

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """One micro-step."""
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        work, self.after_first_micro_step = self.after_first_micro_step, None
        if work is not None:
            work(self._prepare_inputs(inputs))
        return loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The model's loss, with the routers told which token is which."""
        inputs = dict(inputs)
        attributes = inputs.pop(TOKEN_ATTRIBUTES, None)
        if "attention_mask" in inputs:
            self._tokens += int(inputs["attention_mask"].sum())
        with self.described(inputs, attributes):
            loss, outputs = super().compute_loss(
                model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch
            )
        factor = self.router_factor(num_items_in_batch)
        for terms in self._router_terms:
            terms.scale_with(loss, factor)
        return (loss, outputs) if return_outputs else loss

    @contextmanager
    def described(self, inputs: Mapping[str, Any], attributes: Mapping[str, Any] | None) -> Iterator[None]:
        """Within, the model's routers know their tokens."""
        with ExitStack() as described:
            if attributes is not None:
                for terms in self._router_terms:
                    described.enter_context(terms.tokens(mask=inputs["attention_mask"], **attributes))
            yield

    def router_factor(self, num_items_in_batch: Tensor | int | None) -> float:
        """By what the gradient that arrives at the loss is multiplied, so that micro-batches average."""
        summed = self.model_accepts_loss_kwargs and num_items_in_batch is not None
        return 1.0 / self.current_gradient_accumulation_steps if summed else 1.0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Complete a row with the routers' metrics and pass it on."""
        super().log(logs, start_time)
        if "loss" not in logs:
            return
        seconds = time.perf_counter() - self._since
        tokens = gather_sum(torch.tensor(float(self._tokens), device=self.args.device))
        row: dict[str, Any] = {"step": self.state.global_step, "epoch": self.state.epoch}
        row |= {name: logs[name] for name in ("loss", "learning_rate", "grad_norm") if name in logs}
        if float(tokens):
            row["tokens_per_second"] = float(tokens) / max(seconds, 1e-9)
        for terms in self._router_terms:
            if isinstance(terms, Shaper):
                terms.check_finite(across_ranks=True)
            row |= terms.metrics(across_ranks=True)
        self._on_row(row)
        self._tokens, self._since = 0, time.perf_counter()

    def gathered_state(self) -> dict[str, Any] | None:
        """The whole weights on rank 0 where ZeRO-3 has sharded them; None where the model has them itself."""
        engine = self.model_wrapped
        if not hasattr(engine, "zero_optimization_partition_weights"):
            return None
        if not engine.zero_optimization_partition_weights():
            return None
        state: dict[str, Any] = self.accelerator.get_state_dict(engine)
        return state

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        barrier()
        if self.is_world_process_zero():
            for terms in self._router_terms:
                if isinstance(terms, Shaper):
                    save_window(terms, self._folder.checkpoint(self.state.global_step))
            self._folder.complete_checkpoint(self.state.global_step, self._keep)
        barrier()


def _move_to_group(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], rate: float) -> None:
    own = {id(parameter) for parameter in parameters}
    for group in list(optimizer.param_groups):
        moved = [parameter for parameter in group["params"] if id(parameter) in own]
        if moved:
            group["params"] = [parameter for parameter in group["params"] if id(parameter) not in own]
            settings = {key: value for key, value in group.items() if key != "params"}
            optimizer.add_param_group({**settings, "params": moved, "lr": rate})
