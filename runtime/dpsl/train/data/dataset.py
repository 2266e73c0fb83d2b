"""Records as samples: tokens, labels and pixels.

Everything is tokenised up front, so that what cannot be learnt is found before the first step; images are
decoded when they are needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from dpsl.errors import DataError, DataProblem
from dpsl.train.data.chat import ChatError
from dpsl.train.data.images import ImageLoader
from dpsl.train.data.progress import Tell, silent
from dpsl.train.data.records import Attributes, Record
from dpsl.train.data.token_classes import record_codes
from dpsl.train.data.token_store import TokenStore
from dpsl.train.data.tokenise import Encoder, tokenise
from priorlang.table.prior_table import PriorTable

IGNORED = -100
"""The label of a token that is not learnt."""


@dataclass(frozen=True)
class Sample:
    """One sequence.

    Attributes:
        input_ids: [S] int64, each image already as many tokens as the model gives it.
        labels: [S] int64, the token itself where it is part of an answer or its end, else -100.
        pixel_values: [I, 3, H, W] float32, or None for a text.
        codes: the prior's code of each attribute but modality.
    """

    input_ids: Tensor
    labels: Tensor
    pixel_values: Tensor | None
    codes: dict[str, int]


class ConversationDataset(Dataset[Sample]):
    """Records as samples.

    Attributes:
        records: what was read.
        tokens: their tokens, before images expand.
        lengths: [N] int64, tokens of each sample after images expand.
        image_tokens: [N] int64, how many of them are image tokens.
        codes: for each attribute of the prior but modality, [N] int64.
        image_token_id: the token that stands for a piece of an image; None for a text model.
    """

    def __init__(
        self,
        records: Sequence[Record],
        processor: Any,
        *,
        table: PriorTable | None = None,
        max_length: int | None = None,
        image_cache_bytes: int = 256 << 20,
        tokens: TokenStore | None = None,
        processes: int = 1,
        tell: Tell = silent,
    ) -> None:
        """Tokenise, and check what came out.

        Args:
            records: from `load_records` with the same table.
            processor: the model's processor, or its tokenizer where it has no vision tower.
            table: the prior whose codes the samples carry.
            max_length: longer samples are cut; None: never.
            image_cache_bytes: decoded images kept in memory.
            tokens: the tokens of these records, where they are known; the records then need no turns.
            processes: how many may tokenise where there is much to do; with more than one, the program's own
                file must be importable, as `multiprocessing` asks.
            tell: hears how far it is.

        Raises:
            DataError: conversations that the model's chat template refuses, images for a text model, cuts
                that go through an image or leave nothing to learn.
            DpslError: a tokenizer or processor that cannot serve.
        """
        self.records = records
        self._images = ImageLoader(processor, image_cache_bytes)
        self._max_length = max_length
        encoder = Encoder(processor)
        self.image_token_id = encoder.image_token_id
        refused: Mapping[int, ChatError] = {}
        if tokens is None:
            found = tokenise([record.turns for record in records], encoder, processes=processes, tell=tell)
            tokens, refused = found.store, found.refused
        self.tokens = tokens
        stated = [(len(record.images), record.attributes) for record in records]
        shown_N = np.array([images for images, _ in stated], np.int64)
        self.image_tokens = self._images.tokens_per_image * shown_N
        lengths_N = tokens.record_lengths - shown_N + self.image_tokens
        self._check(shown_N, lengths_N, refused)
        self.lengths = lengths_N if max_length is None else np.minimum(lengths_N, max_length)
        self.codes = _codes(table, [attributes for _, attributes in stated])

    def head(self, count: int) -> ConversationDataset:
        """The first records alone, of what was read already."""
        part = copy(self)
        part.records, part.tokens = self.records[:count], self.tokens.head(count)
        part.lengths, part.image_tokens = self.lengths[:count], self.image_tokens[:count]
        part.codes = {name: codes_N[:count] for name, codes_N in self.codes.items()}
        return part

    def __len__(self) -> int:
        """The number of records."""
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        """Sample number `index`, with its images decoded."""
        record = self.records[index]
        ids, learnt = self._expanded(index)
        input_ids = ids.astype(np.int64)
        labels = np.where(learnt, input_ids, IGNORED)
        pixels = [self._images.load(path, record.place) for path in record.images]
        codes = {name: int(values[index]) for name, values in self.codes.items()}
        texts = torch.from_numpy(input_ids), torch.from_numpy(labels)
        return Sample(*texts, torch.stack(pixels) if pixels else None, codes)

    def _check(
        self, shown_N: NDArray[np.int64], lengths_N: NDArray[np.int64], refused: Mapping[int, ChatError]
    ) -> None:
        """Look at every record that something may be wrong with."""
        suspect_N = self.tokens.record_images != shown_N
        if not self._images.tokens_per_image:
            suspect_N |= shown_N > 0
        if self._max_length is not None:
            suspect_N |= lengths_N > self._max_length
        problems: list[DataProblem] = []
        for index in sorted({*np.flatnonzero(suspect_N).tolist(), *refused}):
            error = refused.get(index) or self._problem(index, int(shown_N[index]))
            if error is not None:
                problems.append(DataProblem(self.records[index].place, error.problem, error.fix))
        if problems:
            raise DataError(problems)

    def _problem(self, index: int, images: int) -> ChatError | None:
        seen = int(self.tokens.images[self.tokens.conversation[index]])
        if images and not self._images.tokens_per_image:
            return ChatError("it has images, but the model reads text alone", "use a vision–language model")
        if seen != images:
            return ChatError(
                f"{images} image(s) became {seen} image tokens in the chat template",
                "give the model folder a chat template that writes one image token per image",
            )
        ids, learnt = self._expanded(index)
        fix = "raise max_length or drop the record"
        if images and np.count_nonzero(ids == self.image_token_id) != images * self._images.tokens_per_image:
            return ChatError(f"max_length {self._max_length} cuts through its images", fix)
        if not learnt.any():
            return ChatError(f"max_length {self._max_length} leaves nothing of its answers", fix)
        return None

    def _expanded(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        ids, learnt = self.tokens.of(index)
        if self.image_token_id is not None:
            repeats = np.where(ids == self.image_token_id, self._images.tokens_per_image, 1)
            ids, learnt = np.repeat(ids, repeats), np.repeat(learnt, repeats)
        return ids[: self._max_length], learnt[: self._max_length]


def _codes(table: PriorTable | None, stated: Sequence[Attributes]) -> dict[str, NDArray[np.int64]]:
    """Records share their attributes, so most codes are looked up once."""
    known: dict[int, dict[str, int]] = {}
    codes = []
    for attributes in stated:
        if id(attributes) not in known:
            known[id(attributes)] = record_codes(table, attributes)
        codes.append(known[id(attributes)])
    return {name: np.array([c[name] for c in codes], np.int64) for name in (codes[0] if codes else {})}
