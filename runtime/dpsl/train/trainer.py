"""The trainer of a stage: transformers' own with the prior in it, and what a run folder needs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from accelerate.utils import DummyOptim
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer

from dpsl.errors import DpslError
from dpsl.ranks import summed
from dpsl.shaper import Shaper
from dpsl.tokens import TOKEN_ATTRIBUTES
from dpsl.train.interrupt import raise_kept
from dpsl.train.processes import barrier
from dpsl.train.run_folder import StageFolder
from dpsl.train.shaped_trainer import ShapingMixin
from dpsl.train.window import save_window


class TrainingError(DpslError):
    """Training has come to nothing."""


class StageTrainer(ShapingMixin, Trainer):  # type: ignore[misc]
    """Trains one stage.

    Args:
        folder: the stage's part of the run folder.
        routers: names of the routers' parameters.
        router_learning_rate: theirs, or None for the common one.
        keep: checkpoints to keep.
        look_ahead: the Shaper that counts all micro-batches of a step beforehand, or None.
        on_row: is given every row of metrics, on every rank.
        on_audit: is given what the audit found, on every rank.
        arguments: the mixin's and Trainer's own.
    """

    def __init__(
        self,
        *,
        folder: StageFolder,
        routers: frozenset[str],
        router_learning_rate: float | None,
        keep: int,
        look_ahead: Any,
        on_row: Callable[[dict[str, Any]], None],
        on_audit: Callable[[dict[str, Any]], None],
        **arguments: Any,
    ) -> None:
        # A resumed stage was audited when it began.
        super().__init__(audit=not folder.checkpoints(), **arguments)
        self.remove_callback(PrinterCallback)
        self._folder = folder
        self._routers = routers
        self._router_learning_rate = router_learning_rate
        self._keep = keep
        self._look_ahead = look_ahead
        self._on_row = on_row
        self._on_audit = on_audit
        self._routing: dict[str, float] = {}
        self._tokens = 0
        self._since = time.perf_counter()

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Transformers' optimizer, with the routers in a group of their own where they have their own rate."""
        created: Any = super().create_optimizer(model)
        optimizer: torch.optim.Optimizer = created
        if isinstance(created, DummyOptim):
            return optimizer  # DeepSpeed makes its own, as its configuration says
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
                with self.described(attributes):
                    self.model_wrapped(**inputs)

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """One micro-step; its tokens are counted, and an interrupt that Python dropped is raised."""
        raise_kept()
        if "attention_mask" in inputs:
            self._tokens += int(inputs["attention_mask"].sum())
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        return loss

    def tell_audit(self, result: dict[str, Any]) -> None:
        """The audit goes to the run."""
        self._on_audit(result)

    def router_metrics(self) -> dict[str, float]:
        """Metrics of the routers since the last row; kept for the run's own row."""
        self._routing = super().router_metrics()
        return self._routing

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Pass a row on, with the routers' metrics, and complete the run's own."""
        if "loss" not in logs:
            super().log(logs, start_time)
            return
        self._refuse_loss(logs["loss"])
        logs.update(self._speed())
        kept = ("loss", "learning_rate", "grad_norm", "tokens_per_second")
        row: dict[str, Any] = {name: logs[name] for name in kept if name in logs}
        super().log(logs, start_time)
        self._on_row({"step": self.state.global_step, "epoch": self.state.epoch, **row, **self._routing})

    def _speed(self) -> dict[str, float]:
        """Tokens of all ranks since the last row; nothing where none were counted."""
        seconds = time.perf_counter() - self._since
        tokens = float(summed(torch.tensor(float(self._tokens), device=self.args.device)))
        self._tokens, self._since = 0, time.perf_counter()
        return {"tokens_per_second": tokens / max(seconds, 1e-9)} if tokens else {}

    def _refuse_loss(self, loss: float) -> None:
        """Stop where training has come to nothing, before a checkpoint of it is written."""
        if math.isfinite(loss):
            return
        kept = self._folder.checkpoints()
        last = f"the last checkpoint is of step {kept[-1]}" if kept else "there is no checkpoint yet"
        raise TrainingError(
            f"{self._folder.path}, step {self.state.global_step}",
            f"the loss is {loss}, here or in a step since the last row; {last}",
            "a resumed run would come here again: begin a new one with a lower learning_rate, a longer warm-up, "
            "or bf16 in place of fp16",
        )

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
            for terms in self.router_terms:
                if isinstance(terms, Shaper):
                    save_window(terms, self._folder.checkpoint(self.state.global_step))
            self._folder.complete_checkpoint(self.state.global_step, self._keep, prior=self._prior())
        barrier()

    def _prior(self) -> str | None:
        """The normal form of the prior that shapes."""
        return next((t.table.header.normal_form for t in self.router_terms if isinstance(t, Shaper)), None)


def _move_to_group(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], rate: float) -> None:
    own = {id(parameter) for parameter in parameters}
    for group in list(optimizer.param_groups):
        moved = [parameter for parameter in group["params"] if id(parameter) in own]
        if moved:
            group["params"] = [parameter for parameter in group["params"] if id(parameter) not in own]
            settings = {key: value for key, value in group.items() if key != "params"}
            optimizer.add_param_group({**settings, "params": moved, "lr": rate})
