"""A prior and a model that do not fit: the message names both numbers and the fix."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tables import symmetric_table
from tiny_models import dense, tiny

import dpsl
from dpsl.errors import AttachError
from priorlang.table.prior_table import PriorTable

WRONG_TABLES: dict[str, tuple[Callable[[], PriorTable], str]] = {
    "experts": (lambda: symmetric_table(experts=8), "experts = 8.*has 4"),
    "top_k": (lambda: symmetric_table(top_k=1), "top_k = 1.*has 2"),
    "layers": (lambda: symmetric_table(layers=3), "for 3, the model has 2"),
    "fewer routed": (lambda: symmetric_table(routed=[1]), "routes 2 layers, the prior 1.*0..1"),
}


@pytest.mark.parametrize("case", WRONG_TABLES)
def test_a_table_that_does_not_fit_is_named(case: str) -> None:
    build, message = WRONG_TABLES[case]
    with pytest.raises(AttachError, match=message):
        dpsl.attach(tiny("upcycled"), build())


def test_a_layer_without_router_is_named() -> None:
    model = dense()
    dpsl.upcycle(model, layers=[1])
    with pytest.raises(AttachError, match=r"layer 0.*routed = 1\.\.1"):
        dpsl.attach(model, symmetric_table())
    dpsl.attach(model, symmetric_table(routed=[1]))
