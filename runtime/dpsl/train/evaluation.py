"""How well a model answers held-out questions: exact match per task, by teacher forcing.

The model sees the right answer and is asked, at each of its tokens, for the most likely next one. An answer
counts if every one of them is right, its end included. That is the case exactly when greedy decoding writes
this answer: up to the first error, both see the same text. One forward pass replaces one per token.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from dpsl.ranks import summed
from dpsl.tokens import TOKEN_ATTRIBUTES
from dpsl.train.data.collator import Collator
from dpsl.train.data.dataset import IGNORED, ConversationDataset

TASK = "task"
UNNAMED = "answer"


class _Shaper(Protocol):
    """What evaluation needs of `dpsl.Shaper`."""

    def tokens(self, mask: Tensor, **attributes: Tensor) -> AbstractContextManager[object]: ...


@torch.no_grad()
def evaluate_answers(
    model: nn.Module,
    dataset: ConversationDataset,
    collator: Collator,
    *,
    batch_size: int = 32,
    shaper: _Shaper | None = None,
    prefix: str = "eval",
) -> dict[str, float]:
    """Accuracy on a held-out data set. With torch.distributed every rank must call it, and gets the same.

    Args:
        model: returns `.logits` [B, S, V]; its training mode is restored.
        dataset: the held-out records; their `task` names the accuracies.
        collator: makes the batches.
        batch_size: sequences per rank and batch.
        shaper: attached to the model; if given, the routing of the held-out tokens enters its statistics.
        prefix: of the names.

    Returns:
        `eval_loss`, nats per answer token; `eval_accuracy` over all answers; `eval_TASK_accuracy` of each
        task; beside each accuracy the number of answers that it is of, as `eval_count` and
        `eval_TASK_count`.
    """
    tasks = [record.attributes.get(TASK, UNNAMED) for record in dataset.records]
    names = sorted(set(tasks))
    code = {name: place for place, name in enumerate(names)}
    totals = torch.zeros(2 * len(names) + 2, dtype=torch.float64)
    right_T, asked_T, loss_2 = totals[: len(names)], totals[len(names) : -2], totals[-2:]
    was_training = model.training
    model.eval()
    try:
        for indices, counts in _batches(dataset.lengths, batch_size):
            batch = _to_device(collator([dataset[i] for i in indices]), model)
            right_B, nll, tokens = _score(model, batch, shaper, counts)
            if counts:
                of_batch = torch.tensor([code[tasks[i]] for i in indices])
                right_T.index_add_(0, of_batch, right_B.double().cpu())
                asked_T += torch.bincount(of_batch, minlength=len(names))
                loss_2 += torch.tensor([nll, tokens], dtype=torch.float64)
    finally:
        model.train(was_training)
    totals = summed(totals)
    right_T, asked_T, loss_2 = totals[: len(names)], totals[len(names) : -2], totals[-2:]
    by_task: dict[str, float] = {}
    for name in names:
        right, asked = float(right_T[code[name]]), float(asked_T[code[name]])
        by_task |= {f"{prefix}_{name}_accuracy": right / asked, f"{prefix}_{name}_count": asked}
    return {
        f"{prefix}_loss": float(loss_2[0] / loss_2[1]),
        f"{prefix}_accuracy": float(right_T.sum() / asked_T.sum()),
        f"{prefix}_count": float(asked_T.sum()),
        **by_task,
    }


def _score(
    model: nn.Module, batch: dict[str, Any], shaper: _Shaper | None, counts: bool
) -> tuple[Tensor, float, int]:
    """Which answers are right [B], and the summed loss over how many answer tokens."""
    attributes = batch.pop(TOKEN_ATTRIBUTES)
    labels_BS = batch.pop("labels")[:, 1:]
    mask_BS = batch["attention_mask"] if counts else torch.zeros_like(batch["attention_mask"])
    recording = nullcontext() if shaper is None else shaper.tokens(**{**attributes, "mask": mask_BS})
    with recording:
        logits_BSV = model(**batch).logits[:, :-1]
    learnt_BS = labels_BS != IGNORED
    wrong_BS = learnt_BS & (logits_BSV.argmax(-1) != labels_BS)
    answers_NV, labels_N = logits_BSV[learnt_BS].float(), labels_BS[learnt_BS]
    nll = nn.functional.cross_entropy(answers_NV, labels_N, reduction="sum")
    return ~wrong_BS.any(-1), float(nll), len(labels_N)


def _batches(lengths: Sequence[int] | np.ndarray, batch_size: int) -> list[tuple[list[int], bool]]:
    """Batches of similar lengths for the present rank, and whether each counts.

    Every rank has as many, as sharded parameters and routing statistics need; a spare one does not count.
    """
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    order = np.argsort(-np.asarray(lengths), kind="stable").tolist()
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    rounds = -(-len(batches) // ranks)
    own = [rank + ranks * number for number in range(rounds)]
    return [(batches[place], True) if place < len(batches) else (batches[-1], False) for place in own]


def _to_device(batch: dict[str, Any], model: nn.Module) -> dict[str, Any]:
    device = next(model.parameters()).device
    return {
        name: _to_device(value, model) if isinstance(value, dict) else value.to(device)
        for name, value in batch.items()
    }
