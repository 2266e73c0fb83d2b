"""What a forward pass of a model is called with, as far as it tells its tokens apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from torch import Tensor

Layout: TypeAlias = "tuple[int, int] | None"
"""Sequences and tokens in each, in the order of the tokens; None where it is not known."""

_NAMES = ("input_ids", "inputs_embeds", "attention_mask")


class Given(NamedTuple):
    """A forward pass's tokens, as the model gets them.

    Attributes:
        layout: [B, S].
        ids: the token ids, of a model that gets these.
    """

    layout: Layout = None
    ids: Tensor | None = None


def given_to(arguments: Sequence[Any], named: Mapping[str, Any]) -> Given:
    """What a model is given, by the names that transformers uses, else by its first argument that could be tokens."""
    for value in (*(named.get(name) for name in _NAMES), *arguments):
        layout = layout_of(value)
        if layout is not None:
            return Given(layout, None if value.is_floating_point() else value)
    return Given()


def layout_of(value: Any) -> Layout:
    """[B, S] of token ids [B, S] or hidden states [B, S, H]; None: it is neither."""
    if not isinstance(value, Tensor) or value.dim() != (3 if value.is_floating_point() else 2):
        return None
    return int(value.shape[0]), int(value.shape[1])
