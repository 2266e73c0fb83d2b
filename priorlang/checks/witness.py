"""A cell in words, as the proof of a finding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from priorlang.semantics.spec import Spec

Witness = dict[str, int | str]


def witness(spec: Spec, layer: int, token_class: int) -> Witness:
    """{"layer": 4, "modality": "vision"} of a decoder layer and a token class."""
    sizes = [len(attribute.leaves) for attribute in spec.attributes]
    codes = np.unravel_index(token_class, sizes) if sizes else ()
    return witness_of(spec, layer, [int(code) for code in codes])


def witness_of(spec: Spec, layer: int, codes: Sequence[int]) -> Witness:
    """The same of a decoder layer and the member of each attribute."""
    members = zip(spec.attributes, codes, strict=True)
    return {"layer": layer, **{attribute.name: attribute.leaves[code] for attribute, code in members}}
