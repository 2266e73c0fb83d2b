"""The built-in harness: held-out questions in LLaVA's JSON, by exact match."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from dpsl.errors import EvaluationError
from dpsl.evaluate.processor import load_processor, require_images
from dpsl.evaluate.scores import Score
from dpsl.proportion import standard_error
from dpsl.train.data import Collator, ConversationDataset, DataSource, load_records
from dpsl.train.evaluation import TASK, UNNAMED, evaluate_answers
from priorlang.diagnostics.suggest import closest, listing
from priorlang.training.evaluation import QUESTIONS, EvaluationPlan

ALL = "all"
"""The task of all questions together."""


def ask_questions(model: Path, asked: EvaluationPlan, held_out: tuple[Any, ...]) -> list[Score]:
    """Accuracy of a model folder on held-out questions, by task and over all.

    Args:
        model: a folder with its processor.
        asked: `tasks` picks among the records' own, `limit` the first so many of each.
        held_out: sources of a training file.

    Raises:
        DpslError: the model or the data cannot be read, or there is no such task.
    """
    from dpsl.upcycle import load_model

    sources = [DataSource.planned(source) for source in held_out]
    records = _chosen(load_records(sources), asked)
    if any(record.images for record in records):
        require_images(model)
    processor = load_processor(model)
    dataset = ConversationDataset(records, processor)
    tokenizer = getattr(processor, "tokenizer", processor)
    collator = Collator(pad_token_id=tokenizer.pad_token_id or 0, image_token_id=dataset.image_token_id)
    network = load_model(model, dtype="auto").to("cuda" if torch.cuda.is_available() else "cpu")
    metrics = evaluate_answers(network, dataset, collator, batch_size=asked.batch_size)
    names = sorted({record.attributes.get(TASK, UNNAMED) for record in records})
    scores = [_accuracy(name, f"eval_{name}", metrics) for name in names]
    return [*scores, _accuracy(ALL, "eval", metrics)] if len(names) > 1 else scores


def _chosen(records: Any, asked: EvaluationPlan) -> list[Any]:
    by_task: dict[str, list[Any]] = {}
    for record in records:
        by_task.setdefault(record.attributes.get(TASK, UNNAMED), []).append(record)
    unknown = [name for name in asked.tasks if name not in by_task]
    if unknown:
        near = closest(unknown[0], by_task)
        raise EvaluationError(
            "evaluate: questions",
            f"no held-out record has the task {unknown[0]!r}",
            f"did you mean {near!r}?" if near else f"there are {listing(sorted(by_task))}",
        )
    return [record for name in asked.tasks or sorted(by_task) for record in by_task[name][: asked.limit]]


def _accuracy(task: str, prefix: str, metrics: dict[str, float]) -> Score:
    value, count = metrics[f"{prefix}_accuracy"], metrics[f"{prefix}_count"]
    return Score(QUESTIONS, task, "accuracy", value, standard_error(value, int(count)), int(count))
