"""Records without their turns, as flat arrays that can be mapped from files: what training reads of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from dpsl.train.data.records import Attributes, Record


@dataclass(frozen=True)
class Texts:
    """Texts one after the other: utf8 [B] uint8, and where each begins, offsets [N + 1] int64."""

    utf8: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Texts:
        """Texts as they are."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets_of([len(text) for text in encoded]))

    def __getitem__(self, index: int) -> str:
        """Text number `index`."""
        own = self.utf8[self.offsets[index] : self.offsets[index + 1]]
        return own.tobytes().decode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class FlatRecords(Sequence[Record]):
    """N records with I images. Each is made when it is asked for, and has no turns.

    Attributes:
        places: [N] where each was read.
        paths: [I] the image files.
        images: [N + 1] int64, the first image of each record.
        attributes: every distinct set of attributes.
        attributes_of: [N] int64, which of them a record has.
    """

    places: Texts
    paths: Texts
    images: NDArray[np.int64]
    attributes: tuple[Attributes, ...]
    attributes_of: NDArray[np.int64]

    @classmethod
    def of(cls, records: Sequence[Record]) -> FlatRecords:
        """Records as they are, less their turns."""
        distinct: dict[tuple[tuple[str, str], ...], int] = {}
        kinds = [distinct.setdefault(tuple(r.attributes.items()), len(distinct)) for r in records]
        return cls(
            Texts.of(record.place for record in records),
            Texts.of(map(str, chain.from_iterable(record.images for record in records))),
            offsets_of([len(record.images) for record in records]),
            tuple(map(dict, distinct)),
            np.array(kinds, np.int64),
        )

    def __len__(self) -> int:
        """The number of records."""
        return len(self.attributes_of)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        """Record number `index`, or several."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        paths = (Path(self.paths[i]) for i in range(self.images[index], self.images[index + 1]))
        return Record(self.places[index], tuple(paths), (), self.attributes[self.attributes_of[index]])


def offsets_of(lengths: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of several things of these lengths begins, and where the last ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.asarray(lengths, np.int64))])
