"""A cell in words, as the proof of a finding."""

from __future__ import annotations

import numpy as np

from priorlang.semantics.spec import Spec

Witness = dict[str, int | str]


def witness(spec: Spec, layer: int, token_class: int) -> Witness:
    """{"layer": 4, "modality": "vision"} of a decoder layer and a token class."""
    found: Witness = {"layer": layer}
    sizes = [len(attribute.leaves) for attribute in spec.attributes]
    if sizes:
        codes = np.unravel_index(token_class, sizes)
        for attribute, code in zip(spec.attributes, codes, strict=True):
            found[attribute.name] = attribute.leaves[int(code)]
    return found
