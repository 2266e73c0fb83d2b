"""The data of a stage: training samples, how they make a batch, and the held-out sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from dpsl.errors import DpslError
from dpsl.train.data import Collator, ConversationDataset, DataSource, load_records
from dpsl.train.evaluation import evaluate_answers
from dpsl.train.image_labels import ImageLabelDataset, collate_image_labels, evaluate_image_labels
from priorlang.table.prior_table import PriorTable
from priorlang.training import plan as training

IMAGE_LABELS = "image-labels"
Evaluate = Callable[[nn.Module, Any], dict[str, float]]

SAMPLED = 512
"""Training records whose routing is kept where none are held out."""


@dataclass(frozen=True)
class StageData:
    """What a stage learns from and is measured on.

    Attributes:
        train: the samples.
        collate: samples to a batch.
        evaluate: the model, and its shaper or None, to `eval_…` metrics; empty without held-out data.
        held_out: whether there is held-out data.
        look: runs the model on the first SAMPLED training records, for their routing; None: nothing routes.
    """

    train: Any
    collate: Callable[[Any], dict[str, Any]]
    evaluate: Evaluate
    held_out: bool
    look: Callable[[nn.Module, Any], object] | None = None


class DataRoom:
    """Reads the data of stages, each source once however many stages use it.

    Attributes:
        processor: the model's.

    Args:
        processor: the model's.
        verify_images: open every image once, to find broken ones before training starts.
    """

    def __init__(self, processor: Any, *, verify_images: bool = False) -> None:
        self.processor = processor
        self._verify_images = verify_images
        self._known: dict[tuple[str, ...], Any] = {}

    def load(self, stage: training.StagePlan, table: PriorTable | None) -> StageData:
        """Read and check the data of a stage.

        Args:
            stage: its sources.
            table: the prior whose attributes the records must carry; None where no router looks at them.

        Raises:
            DataError: with every problem found.
        """
        return self._labelled_images(stage) if stage.objective == IMAGE_LABELS else self._texts(stage, table)

    def _texts(self, stage: training.StagePlan, table: PriorTable | None) -> StageData:
        train = self._conversations(stage.data, stage.max_length, table)
        held_out = [
            (prefix, self._conversations((source,), stage.max_length, table))
            for prefix, source in _prefixes(stage)
        ]
        tokenizer = getattr(self.processor, "tokenizer", self.processor)
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        collator = Collator(pad_token_id=pad or 0, image_token_id=train.image_token_id, table=table)
        size = stage.per_device_eval_batch_size

        def evaluate(model: nn.Module, shaper: Any) -> dict[str, float]:
            metrics: dict[str, float] = {}
            for prefix, samples in held_out:
                metrics |= evaluate_answers(
                    model, samples, collator, batch_size=size, shaper=shaper, prefix=prefix
                )
            return metrics

        def look(model: nn.Module, shaper: Any) -> object:
            return evaluate_answers(model, train.head(SAMPLED), collator, batch_size=size, shaper=shaper)

        return StageData(train, collator, evaluate, bool(held_out), look)

    def _labelled_images(self, stage: training.StagePlan) -> StageData:
        if len(stage.data) != 1:
            raise DpslError(
                f"stage {stage.name}: data",
                f"{len(stage.data)} sources of image labels",
                "put them in one file",
            )
        train = self._labels(stage.data[0])
        held_out = [(prefix, self._labels(source)) for prefix, source in _prefixes(stage)]
        size = stage.per_device_eval_batch_size

        def evaluate(model: nn.Module, shaper: Any) -> dict[str, float]:
            metrics: dict[str, float] = {}
            for prefix, samples in held_out:
                metrics |= evaluate_image_labels(model, samples, batch_size=size, prefix=prefix)
            return metrics

        return StageData(train, collate_image_labels, evaluate, bool(held_out))

    def _conversations(
        self, sources: Sequence[training.DataSource], max_length: int, table: PriorTable | None
    ) -> ConversationDataset:
        prior = table.header.normal_form if table is not None else ""
        key = (str(max_length), prior, *(source.model_dump_json() for source in sources))
        if key not in self._known:
            own = [DataSource.planned(source) for source in sources]
            records = load_records(own, table, verify_images=self._verify_images)
            self._known[key] = ConversationDataset(
                records, self.processor, table=table, max_length=max_length
            )
        known: ConversationDataset = self._known[key]
        return known

    def _labels(self, source: training.DataSource) -> ImageLabelDataset:
        key = ("labels", source.model_dump_json())
        if key not in self._known:
            images: Path = source.images or source.path.parent
            self._known[key] = ImageLabelDataset(source.path, images, self.processor)
        known: ImageLabelDataset = self._known[key]
        return known


def _prefixes(stage: training.StagePlan) -> list[tuple[str, training.DataSource]]:
    """`eval` for a single held-out source, `eval_NAME` for several."""
    if len(stage.eval_data) == 1:
        return [("eval", stage.eval_data[0])]
    return [(f"eval_{source.label}", source) for source in stage.eval_data]
