"""Tokens of a data set as flat arrays: in memory, or mapped from files that several processes share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TokenStore:
    """The tokens of N records before their images expand; U of their conversations are distinct.

    Attributes:
        ids: [T] int32, the distinct conversations one after the other.
        learnt: [T] bool, which tokens are part of an answer or its end.
        offsets: [U + 1] int64, where each conversation begins; the last entry is T.
        images: [U] int32, how many of a conversation's tokens stand for an image.
        conversation: [N] int64, which of the distinct conversations a record is.
    """

    ids: NDArray[np.int32]
    learnt: NDArray[np.bool_]
    offsets: NDArray[np.int64]
    images: NDArray[np.int32]
    conversation: NDArray[np.int64]

    def __len__(self) -> int:
        """The number of records."""
        return len(self.conversation)

    @property
    def record_lengths(self) -> NDArray[np.int64]:
        """[N] int64, tokens of each record."""
        return np.diff(self.offsets)[self.conversation]

    @property
    def record_images(self) -> NDArray[np.int64]:
        """[N] int64, image tokens of each record."""
        return self.images[self.conversation].astype(np.int64)

    def of(self, record: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """The tokens of a record, and which of them are learnt."""
        place = self.conversation[record]
        span = slice(self.offsets[place], self.offsets[place + 1])
        return self.ids[span], self.learnt[span]

    def head(self, count: int) -> TokenStore:
        """The first records alone; their tokens are not copied."""
        return replace(self, conversation=self.conversation[:count])


@dataclass(frozen=True)
class Tokens:
    """A few conversations, one after the other: ids [T], learnt [T], and the length and image tokens of each [U]."""

    ids: NDArray[np.int32]
    learnt: NDArray[np.bool_]
    lengths: NDArray[np.int64]
    images: NDArray[np.int32]


def joined(parts: Iterable[Tokens], conversation: Sequence[int]) -> TokenStore:
    """One store of all parts.

    Args:
        parts: the distinct conversations, in order.
        conversation: [N] which of them each record is.
    """
    waiting = list(parts)
    lengths = np.concatenate([np.zeros(0, np.int64), *(part.lengths for part in waiting)])
    images = np.concatenate([np.zeros(0, np.int32), *(part.images for part in waiting)])
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    ids, learnt = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.bool_)
    end = int(offsets[-1])
    # From the end, each part let go once it is copied: tokens are never held twice.
    while waiting:
        part = waiting.pop()
        start = end - len(part.ids)
        ids[start:end], learnt[start:end] = part.ids, part.learnt
        end = start
    return TokenStore(ids, learnt, offsets, images, np.asarray(conversation, np.int64))
