"""What happens beside the steps: progress, rows of metrics, the schedule, evaluation on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from dpsl.regularizers import Regularizers
from dpsl.train.console import Console


class FlowCallback(TrainerCallback):  # type: ignore[misc]
    """Rows fall on checkpoints as well, so a resumed run writes the rows that an uninterrupted one writes.

    The last step makes no checkpoint: the stage's model is saved right after it.
    """

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Comes after transformers' own flow."""
        last = state.global_step >= state.max_steps
        control.should_save = control.should_save and not last
        control.should_log = control.should_log or control.should_save or last
        return control


class ProgressCallback(TrainerCallback):  # type: ignore[misc]
    """Moves the console's bar."""

    def __init__(self, console: Console, stage: str) -> None:
        self._console = console
        self._stage = stage

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Show the bar."""
        self._console.begin(self._stage, state.global_step, state.max_steps)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """One step on."""
        self._console.step()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Take the bar away."""
        self._console.end()


class ScheduleCallback(TrainerCallback):  # type: ignore[misc]
    """Tells the shaper how far training is, before each step."""

    def __init__(self, shaper: Any, done: int = 0, total: int | None = None) -> None:
        """`done` shaped steps came before this training, of `total` in all; None: it is all of them."""
        self._shaper = shaper
        self._done = done
        self._total = total

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Set the factor on every weight."""
        total = self._done + state.max_steps if self._total is None else self._total
        # Where a stage takes a step more than was planned, it keeps the schedule's end.
        self._shaper.set_progress(min(self._done + state.global_step, total), total)


class RegularizerCallback(TrainerCallback):  # type: ignore[misc]
    """Tells the regularizers how far the stage is, and when an optimizer step is done."""

    def __init__(self, regularizers: Regularizers) -> None:
        self._regularizers = regularizers

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Set the schedules."""
        self._regularizers.set_progress(state.global_step, state.max_steps)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Comes before the checkpoint of the step."""
        self._regularizers.end_step()


class EvaluationCallback(TrainerCallback):  # type: ignore[misc]
    """Evaluates every so many steps."""

    def __init__(self, every: int, evaluate: Callable[[int], object]) -> None:
        self._every = every
        self._evaluate = evaluate

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """The end of the stage is evaluated elsewhere."""
        if state.global_step % self._every == 0 and state.global_step < state.max_steps:
            self._evaluate(state.global_step)
