"""Conversations as tokens and labels.

Everything is tokenised up front, so that what cannot be learnt is found before the first step; images are
decoded when they are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from dpsl.errors import DataError, DataProblem, DpslError
from dpsl.train.data.chat import ChatError, ChatFormat
from dpsl.train.data.images import ImageLoader
from dpsl.train.data.records import Record, Turn
from dpsl.train.data.token_classes import record_codes
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


@dataclass(frozen=True)
class _Tokens:
    """A conversation before its images expand: [T] ids, and which of them are learnt."""

    ids: NDArray[np.int32]
    learnt: NDArray[np.bool_]


class ConversationDataset(Dataset[Sample]):
    """Records as samples.

    Attributes:
        records: what was read.
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
    ) -> None:
        """Tokenise.

        Args:
            records: from `load_records` with the same table.
            processor: the model's processor, or its tokenizer where it has no vision tower.
            table: the prior whose codes the samples carry.
            max_length: longer samples are cut; None: never.
            image_cache_bytes: decoded images kept in memory.

        Raises:
            DataError: conversations that the model's chat template refuses, images for a text model, cuts
                that go through an image or leave nothing to learn.
            DpslError: a tokenizer or processor that cannot serve.
        """
        self.records = records
        self._images = ImageLoader(processor, image_cache_bytes)
        self._max_length = max_length
        tokenizer = _Tokenizer(processor)
        self.image_token_id = tokenizer.image_token_id
        problems: list[DataProblem] = []
        self._tokens: list[_Tokens] = []
        for record in records:
            try:
                tokens = tokenizer(record.turns)
                self._tokens.append(tokens)
                self._check(record, tokens)
            except ChatError as error:
                problems.append(DataProblem(record.place, error.problem, error.fix))
        if problems:
            raise DataError(problems)
        expanded = self._images.tokens_per_image * np.array(
            [len(record.images) for record in records], np.int64
        )
        whole = np.array(
            [len(tokens.ids) - len(r.images) for tokens, r in zip(self._tokens, records, strict=True)]
        )
        lengths = whole.astype(np.int64) + expanded
        self.image_tokens = expanded
        self.lengths = lengths if max_length is None else np.minimum(lengths, max_length)
        codes = [record_codes(table, record.attributes) for record in records]
        self.codes = {
            name: np.array([c[name] for c in codes], np.int64) for name in (codes[0] if codes else {})
        }

    def head(self, count: int) -> ConversationDataset:
        """The first records alone, of what was read already."""
        part = copy(self)
        part.records, part._tokens = self.records[:count], self._tokens[:count]
        part.lengths, part.image_tokens = self.lengths[:count], self.image_tokens[:count]
        part.codes = {name: codes_N[:count] for name, codes_N in self.codes.items()}
        return part

    def __len__(self) -> int:
        """The number of records."""
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        """Sample number `index`, with its images decoded."""
        record = self.records[index]
        ids, learnt = self._expanded(self._tokens[index])
        input_ids = torch.from_numpy(ids.astype(np.int64))
        labels = torch.where(torch.from_numpy(learnt), input_ids, IGNORED)
        pixels = [self._images.load(path, record.place) for path in record.images]
        codes = {name: int(values[index]) for name, values in self.codes.items()}
        return Sample(input_ids, labels, torch.stack(pixels) if pixels else None, codes)

    def _check(self, record: Record, tokens: _Tokens) -> None:
        shown = (
            int(np.count_nonzero(tokens.ids == self.image_token_id)) if self.image_token_id is not None else 0
        )
        if record.images and not self._images.tokens_per_image:
            raise ChatError("it has images, but the model reads text alone", "use a vision–language model")
        if shown != len(record.images):
            raise ChatError(
                f"{len(record.images)} image(s) became {shown} image tokens in the chat template",
                "give the model folder a chat template that writes one image token per image",
            )
        if self._max_length is not None:
            ids, learnt = self._expanded(tokens)
            fix = "raise max_length or drop the record"
            if (
                record.images
                and np.count_nonzero(ids == self.image_token_id) != shown * self._images.tokens_per_image
            ):
                raise ChatError(f"max_length {self._max_length} cuts through its images", fix)
            if not learnt.any():
                raise ChatError(f"max_length {self._max_length} leaves nothing of its answers", fix)

    def _expanded(self, tokens: _Tokens) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        ids, learnt = tokens.ids, tokens.learnt
        if self.image_token_id is not None:
            repeats = np.where(ids == self.image_token_id, self._images.tokens_per_image, 1)
            ids, learnt = np.repeat(ids, repeats), np.repeat(learnt, repeats)
        return ids[: self._max_length], learnt[: self._max_length]


class _Tokenizer:
    """Turns to token ids, remembering conversations that were seen before."""

    def __init__(self, processor: Any) -> None:
        self._tokenizer = getattr(processor, "tokenizer", processor)
        if not getattr(self._tokenizer, "is_fast", False):
            raise DpslError(
                f"the model's {type(self._tokenizer).__name__}",
                "it does not tell which characters a token stands for",
                "use the fast form of the tokenizer, a tokenizer.json in the model folder",
            )
        self._chat = ChatFormat(processor)
        self._seen: dict[tuple[Turn, ...], _Tokens] = {}
        image_token = getattr(processor, "image_token", None)
        self.image_token_id = (
            None if image_token is None else int(self._tokenizer.convert_tokens_to_ids(image_token))
        )
        bos = self._tokenizer.bos_token_id
        starts = bos is not None and self._tokenizer("").input_ids[:1] == [bos]
        self._bos: int | None = bos if starts else None

    def __call__(self, turns: tuple[Turn, ...]) -> _Tokens:
        if turns not in self._seen:
            self._seen[turns] = self._tokens(turns)
        return self._seen[turns]

    def _tokens(self, turns: tuple[Turn, ...]) -> _Tokens:
        """A token is learnt if the last of its characters is: it is then written after the prompt."""
        pieces = self._chat.pieces(turns)
        learnt_of_character = np.repeat([p.learnt for p in pieces], [len(p.text) for p in pieces])
        text = "".join(piece.text for piece in pieces)
        encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids = np.array(encoded["input_ids"], np.int32)
        last = np.array([max(stop - 1, 0) for _, stop in encoded["offset_mapping"]], np.int64)
        learnt = learnt_of_character[last].astype(np.bool_)
        if self._bos is not None and ids[0] != self._bos:
            ids = np.concatenate([np.array([self._bos], np.int32), ids])
            learnt = np.concatenate([np.array([False]), learnt])
        return _Tokens(ids, learnt)
