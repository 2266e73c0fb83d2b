"""Exact match by teacher forcing: the same verdict as greedy decoding, on one rank and on two."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dpsl.train.data import Collator, ConversationDataset, DataSource, load_records
from dpsl.train.data.dataset import IGNORED
from dpsl.train.evaluation import evaluate_answers
from priorlang.table.prior_table import PriorTable


def read(data: Path, processor: Any, *names: str, limit: int | None = None) -> ConversationDataset:
    records = load_records([DataSource(data / f"{name}.json", data / "images") for name in names])
    return ConversationDataset(records[:limit], processor)


@pytest.fixture(scope="module")
def half_taught(digits_data: Path, digits_processor: Any, digits_model: Any) -> tuple[nn.Module, Any, Any]:
    """A model that answers some questions right: it has seen them a few times."""
    dataset = read(digits_data, digits_processor, "heldout-text", limit=24)
    collator = Collator(pad_token_id=0, image_token_id=2)
    batch = collator([dataset[i] for i in range(len(dataset))])
    batch.pop("token_attributes")
    model = digits_model(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(25):
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, dataset, collator


@torch.no_grad()
def answers_greedily(model: nn.Module, sample: Any) -> bool:
    learnt = torch.nonzero(sample.labels != IGNORED).flatten()
    written = sample.input_ids[: learnt[0]]
    for _ in learnt:
        following = model(input_ids=written[None]).logits[0, -1].argmax()
        written = torch.cat([written, following[None]])
    return torch.equal(written, sample.input_ids)


def test_teacher_forcing_judges_as_greedy_decoding(half_taught: tuple[nn.Module, Any, Any]) -> None:
    model, dataset, collator = half_taught
    model.eval()
    right = [answers_greedily(model, dataset[i]) for i in range(len(dataset))]
    metrics = evaluate_answers(model, dataset, collator, batch_size=5)
    assert 0 < np.mean(right) < 1
    assert metrics["eval_accuracy"] == pytest.approx(np.mean(right))
    assert metrics["eval_text-question_accuracy"] == metrics["eval_accuracy"]


def test_the_loss_is_the_model_s_over_all_answers(half_taught: tuple[nn.Module, Any, Any]) -> None:
    model, dataset, collator = half_taught
    batch = collator([dataset[i] for i in range(len(dataset))])
    batch.pop("token_attributes")
    with torch.no_grad():
        expected = float(model(**batch).loss)
    for batch_size in (1, 7, 64):
        metrics = evaluate_answers(model, dataset, collator, batch_size=batch_size)
        assert metrics["eval_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_s_mode_is_restored(half_taught: tuple[nn.Module, Any, Any], training: bool) -> None:
    model, dataset, collator = half_taught
    model.train(training)
    evaluate_answers(model, dataset, collator)
    assert model.training is training


class PerfectModel(nn.Module):
    """Says the right next token everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))

    def forward(self, input_ids: torch.Tensor, **_: Any) -> Any:
        logits = nn.functional.one_hot(input_ids.roll(-1, dims=1), 1024).float()
        return type("Output", (), {"logits": logits})


def test_accuracies_are_named_by_task(digits_data: Path, digits_processor: Any) -> None:
    dataset = read(digits_data, digits_processor, "heldout", "heldout-text")
    metrics = evaluate_answers(
        PerfectModel(), dataset, Collator(pad_token_id=0, image_token_id=2), prefix="held"
    )
    tasks = {"digit", "parity", "colour", "larger", "caption", "text-question"}
    of_tasks = {f"held_{task}_{what}" for task in tasks for what in ("accuracy", "count")}
    assert set(metrics) == {"held_loss", "held_accuracy", "held_count", *of_tasks}
    assert all(value == 1.0 for name, value in metrics.items() if name.endswith("accuracy"))
    assert metrics["held_count"] == len(dataset) == sum(metrics[f"held_{task}_count"] for task in tasks)


class RecordingShaper:
    """Counts the tokens it is told of."""

    def __init__(self) -> None:
        self.vision = 0
        self.tokens_seen = 0

    @contextmanager
    def tokens(self, *, mask: torch.Tensor, **attributes: torch.Tensor) -> Iterator[None]:
        self.tokens_seen += int(mask.sum())
        self.vision += int((mask.bool() & (attributes["modality"] == 0)).sum())
        yield


def test_held_out_tokens_reach_the_shaper_once(
    digits_data: Path, digits_processor: Any, digits_table: PriorTable
) -> None:
    source = DataSource(digits_data / "heldout.json", digits_data / "images")
    dataset = ConversationDataset(load_records([source], digits_table), digits_processor, table=digits_table)
    shaper = RecordingShaper()
    collator = Collator(pad_token_id=0, image_token_id=2, table=digits_table)
    evaluate_answers(PerfectModel(), dataset, collator, batch_size=7, shaper=shaper)
    assert shaper.tokens_seen == dataset.lengths.sum()
    assert shaper.vision == dataset.image_tokens.sum()


TWO_RANKS = """
import json, sys
from pathlib import Path
import torch, torch.distributed as dist
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor
from dpsl.train.data import Collator, ConversationDataset, DataSource, load_records
from dpsl.train.evaluation import evaluate_answers

data, rank = Path(sys.argv[1]), int(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{sys.argv[3]}", rank=rank, world_size=2)
torch.manual_seed(0)
model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(data / "model"))
records = load_records([DataSource(data / "heldout-text.json")])
dataset = ConversationDataset(records, AutoProcessor.from_pretrained(data / "model"))
metrics = evaluate_answers(model, dataset, Collator(pad_token_id=0, image_token_id=2), batch_size=25)
print(json.dumps(metrics))
dist.destroy_process_group()
"""


def test_two_ranks_say_what_one_says(
    digits_data: Path, digits_processor: Any, digits_model: Any, tmp_path: Path
) -> None:
    """The held-out records make three batches: the ranks hold different numbers of them."""
    import json

    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_RANKS, str(digits_data), str(rank), str(tmp_path / "meet")],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    printed = [process.communicate(timeout=300)[0] for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0]
    first, second = (json.loads(text) for text in printed)
    dataset = read(digits_data, digits_processor, "heldout-text")
    assert 50 < len(dataset) <= 75
    alone = evaluate_answers(
        digits_model(0), dataset, Collator(pad_token_id=0, image_token_id=2), batch_size=25
    )
    assert first == second
    assert first == pytest.approx(alone, rel=1e-5)
