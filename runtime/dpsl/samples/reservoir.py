"""A uniform sample of rows that come in pieces."""

from __future__ import annotations

import torch
from torch import Tensor


class Reservoir:
    """Every row has the same chance to be among those that are kept, in whatever pieces rows come.

    Args:
        room: rows that are kept at most.
        generator: draws a number for each row; those with the smallest stay.
    """

    def __init__(self, room: int, generator: torch.Generator) -> None:
        self._room, self._generator = room, generator
        self._keys: Tensor | None = None
        self._rows: Tensor | None = None

    def __len__(self) -> int:
        return 0 if self._rows is None else len(self._rows)

    def add(self, rows: Tensor) -> None:
        """Offer rows [n, …]; what is kept is copied to the CPU."""
        keys = torch.rand(len(rows), generator=self._generator)
        if not len(rows) or not self._room:
            return
        if self._keys is not None and len(self._keys) == self._room:
            inside = (keys < self._keys.max()).nonzero().flatten()
            if not len(inside):
                return
            keys, rows = keys[inside], rows[inside.to(rows.device)]
        small = keys.argsort()[: self._room]
        keys, rows = keys[small], rows[small.to(rows.device)].cpu()
        if self._keys is not None and self._rows is not None:
            keys, rows = torch.cat([self._keys, keys]), torch.cat([self._rows, rows])
            small = keys.argsort()[: self._room]
            keys, rows = keys[small], rows[small]
        self._keys, self._rows = keys, rows

    def rows(self) -> Tensor | None:
        """What was kept; None where nothing came."""
        return self._rows
