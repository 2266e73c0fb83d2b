"""Routers that something is attached to already, so that nothing is attached to one twice without a word."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakSet

from torch import nn

from dpsl.errors import AttachError
from dpsl.routers.found import FoundRouter


class Claims:
    """Who has which routers.

    Args:
        problem: what is wrong where a router is claimed again.
        fix: what to do then.
    """

    def __init__(self, problem: str, fix: str) -> None:
        self._problem = problem
        self._fix = fix
        self._taken: WeakSet[nn.Module] = WeakSet()

    def refuse_taken(self, routers: Iterable[FoundRouter]) -> None:
        """Refuse routers that are taken.

        Raises:
            AttachError: naming the first.
        """
        for router in routers:
            if router.module in self._taken:
                raise AttachError(router.place, self._problem, self._fix)

    def take(self, routers: Iterable[FoundRouter]) -> None:
        """They are taken from now on."""
        self._taken.update(router.module for router in routers)

    def release(self, routers: Iterable[FoundRouter]) -> None:
        """They are free again."""
        self._taken.difference_update(router.module for router in routers)
