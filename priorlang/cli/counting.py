"""Token shares for `validate TRAIN.yaml`: counted in the data, where the engine is installed and the data is there."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from priorlang.checks.shares import counted_shares
from priorlang.diagnostics.finding import PriorError
from priorlang.diagnostics.human import counted
from priorlang.phases import Given, Prior
from priorlang.training.model import model_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from priorlang.model_config import GivenModel
    from priorlang.training.load import LoadedPlan
    from priorlang.training.plan import StagePlan, TrainingPlan

ENGINE = ("torch", "transformers")


class CountedStage(NamedTuple):
    """A shaped stage: its prior, its model, what its data says, and a remark that tells what was counted."""

    prior: Path
    model: GivenModel | None
    evidence: Given
    remark: str


def counted_stages(loaded: LoadedPlan, given: Given, *, quiet: bool) -> Iterator[CountedStage]:
    """Each shaped stage with the shares of its tokens, and the tokens from which one step learns.

    Args:
        loaded: the training file.
        given: what the command was told; a number of tokens in a batch goes before the file's own.
        quiet: no word of how far reading is.
    """
    missing = [name for name in ENGINE if find_spec(name) is None]
    reason = f"{' and '.join(missing)} not installed: pip install 'priorlang[train]'" if missing else ""
    counter = None
    for index, stage in enumerate(loaded.plan.stages):
        if not stage.shape or stage.prior is None:
            continue
        if not reason and counter is None:
            counter, reason = _counter(loaded.plan, quiet=quiet)
        model = model_of(loaded.plan, stage, partial(loaded.span, index))
        if counter is None:
            yield CountedStage(stage.prior, model, given, _uncounted(stage, reason))
        else:
            yield _counted(counter, stage, model, given)


def _counter(plan: TrainingPlan, *, quiet: bool):  # type: ignore[no-untyped-def]
    from dpsl.errors import DpslError
    from dpsl.train.token_counts import TokenCounter

    try:
        return TokenCounter(plan, quiet=quiet), ""
    except DpslError as error:
        return None, str(error)


def _counted(  # type: ignore[no-untyped-def]
    counter, stage: StagePlan, model: GivenModel | None, given: Given
) -> CountedStage:
    from dpsl.errors import DpslError

    assert stage.prior is not None
    try:
        prior = Prior.read(stage.prior, model=model)
        counts = counter.count(stage, prior.table)
    except DpslError as error:
        return CountedStage(stage.prior, model, given, _uncounted(stage, str(error)))
    except PriorError:
        # Its findings are about to be printed.
        return CountedStage(stage.prior, model, given, "")
    tokens = int(counts.per_class.sum())
    micro_batches = stage.gradient_accumulation_steps if stage.scope == "global" else 1
    samples = stage.per_device_train_batch_size * micro_batches
    batch = given.batch_tokens if given.batch_tokens is not None else samples * tokens / counts.samples
    known = "as given" if given.batch_tokens is not None else f"{counted(samples, 'sample')}, on one process"
    remark = (
        f"stage {stage.name}: counted {counted(tokens, 'token')} in {counted(counts.samples, 'sample')}; "
        f"a batch has about {batch:,.0f} ({known})"
    )
    evidence = Given(counted_shares(prior.spec, counts.per_class), batch)
    return CountedStage(stage.prior, model, evidence, remark)


def _uncounted(stage: StagePlan, reason: str) -> str:
    return f"stage {stage.name}: its tokens are not counted ({reason}); --shares gives what the data would"
