"""Several things on a model's routers that want to know what tokens are, told as one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from dpsl.regularizers import Regularizers


class Described:
    """Anything with `tokens(mask=…, …)`, together."""

    def __init__(self, *terms: Any) -> None:
        self._terms = terms

    @contextmanager
    def tokens(self, **attributes: Any) -> Iterator[None]:
        """Describe the tokens of the forward passes within, to each."""
        with ExitStack() as described:
            for terms in self._terms:
                described.enter_context(terms.tokens(**attributes))
            yield


def in_evaluation(shaper: Any, regularizers: Regularizers | None) -> Described | None:
    """What must be told of tokens in evaluation: the shaper given, and regularizers that bar experts; None: nothing."""
    barring = regularizers if regularizers is not None and regularizers.bars_experts else None
    terms = [term for term in (shaper, barring) if term is not None]
    return Described(*terms) if terms else None
