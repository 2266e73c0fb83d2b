"""The data of a stage: training samples, how they make a batch, and the held-out sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from dpsl.errors import DpslError
from dpsl.train.data import Collator, ConversationDataset, DataSource, Record, load_records
from dpsl.train.data.kept import WORTH_KEEPING, DataRead, content_key, keep, kept
from dpsl.train.data.progress import Tell, silent
from dpsl.train.data.records import require_attributes
from dpsl.train.data.tokenise import Encoder, usable_processes
from dpsl.train.evaluation import evaluate_answers
from dpsl.train.image_labels import ImageLabelDataset, collate_image_labels, evaluate_image_labels
from dpsl.train.processes import rank
from priorlang.table.prior_table import PriorTable
from priorlang.training import plan as training

IMAGE_LABELS = "image-labels"
Evaluate = Callable[[nn.Module, Any], dict[str, float]]
Sources = tuple[str, ...]
"""A data set's sources, each as JSON."""

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
        kept: the folder where large data is kept once it is read, and looked for first; None: nowhere.
        tell: hears how far reading is.
    """

    def __init__(
        self,
        processor: Any,
        *,
        verify_images: bool = False,
        kept: Path | None = None,
        tell: Tell = silent,
    ) -> None:
        self.processor = processor
        self._verify_images = verify_images
        self._kept, self._tell = kept, tell
        self._labelled: dict[str, ImageLabelDataset] = {}
        self._read: dict[Sources, DataRead] = {}
        self._samples: dict[tuple[Sources, int | None, str], ConversationDataset] = {}

    def keep_in(self, folder: Path) -> None:
        """Keep large data that was read, and will be, in this folder; memory then holds none of it.

        Raises:
            RunFolderError: it cannot be written.
        """
        self._kept = folder
        for sources in self._read:
            self._keep(sources)

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
        self, planned: Sequence[training.DataSource], max_length: int | None, table: PriorTable | None
    ) -> ConversationDataset:
        sources = tuple(source.model_dump_json() for source in planned)
        key = (sources, max_length, table.header.normal_form if table is not None else "")
        if key not in self._samples:
            own = [DataSource.planned(source) for source in planned]
            read, address = self._read.get(sources), ""
            if read is None:
                address = content_key(own, self._identity)
                read = self._found(address)
            if read is not None:
                require_attributes(read.records, table)
            samples = ConversationDataset(
                read.records if read is not None else self._loaded(own, table),
                self.processor,
                table=table,
                max_length=max_length,
                tokens=read.tokens if read is not None else None,
                processes=usable_processes(),
                tell=self._tell,
            )
            self._samples[key] = samples
            if read is None:
                self._read[sources] = DataRead(address, samples.records, samples.tokens)
                self._keep(sources)
            else:
                self._read[sources] = read
        return self._samples[key]

    @cached_property
    def _identity(self) -> str:
        return Encoder(self.processor).identity()

    def _loaded(self, sources: Sequence[DataSource], table: PriorTable | None) -> list[Record]:
        return load_records(sources, table, verify_images=self._verify_images, tell=self._tell)

    def _found(self, address: str) -> DataRead | None:
        """Rank 0 has looked at every byte by the time the others come."""
        return None if self._kept is None else kept(self._kept, address, checked=rank() == 0)

    def _keep(self, sources: Sources) -> None:
        read = self._read[sources]
        if self._kept is None or rank() != 0 or len(read.tokens.ids) < WORTH_KEEPING:
            return
        keep(self._kept, read)
        mapped = kept(self._kept, read.key, checked=False) or read
        self._read[sources] = mapped
        for (known, *_), samples in self._samples.items():
            if known == sources:
                samples.records, samples.tokens = mapped.records, mapped.tokens

    def _labels(self, source: training.DataSource) -> ImageLabelDataset:
        key = source.model_dump_json()
        if key not in self._labelled:
            images: Path = source.images or source.path.parent
            self._labelled[key] = ImageLabelDataset(source.path, images, self.processor, tell=self._tell)
        return self._labelled[key]


def _prefixes(stage: training.StagePlan) -> list[tuple[str, training.DataSource]]:
    """`eval` for a single held-out source, `eval_NAME` for several."""
    if len(stage.eval_data) == 1:
        return [("eval", stage.eval_data[0])]
    return [(f"eval_{source.label}", source) for source in stage.eval_data]
