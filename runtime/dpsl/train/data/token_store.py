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
    """One store of all parts, each of which is let go before the next is asked for.

    Args:
        parts: the distinct conversations, in order.
        conversation: [N] which of them each record is.
    """
    # Byte arrays grow in place, so that tokens are never in memory twice.
    ids, learnt, lengths, images = (bytearray() for _ in range(4))
    for part in parts:
        ids += part.ids.data
        learnt += part.learnt.data
        lengths += part.lengths.data
        images += part.images.data
    return TokenStore(
        np.frombuffer(ids, np.int32),
        np.frombuffer(learnt, np.bool_),
        np.concatenate([np.zeros(1, np.int64), np.cumsum(np.frombuffer(lengths, np.int64))]),
        np.frombuffer(images, np.int32),
        np.asarray(conversation, np.int64),
    )
