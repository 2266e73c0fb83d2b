"""Which class of a prior each token belongs to: modality from the tokens, the rest from the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dpsl.tokens.members import MODALITY, modality_codes
from priorlang.table.prior_table import PriorTable, TableAttribute

if TYPE_CHECKING:
    from dpsl.train.data.dataset import ConversationDataset


def missing_member(attribute: TableAttribute, stated: Mapping[str, str]) -> tuple[str, str] | None:
    """Why a record has no code for an attribute of the prior, with the fix; None where it has one."""
    if attribute.name == MODALITY:
        return None
    member = stated.get(attribute.name)
    if attribute.code(member) is not None:
        return None
    leaves = dict(attribute.parents).get(member or "")
    known = ", ".join(attribute.members)
    if member is None:
        return (
            f"it carries no `{attribute.name}`, an attribute of the prior",
            f"state one of {known} in the record or its entry of `data`, or add `unknown` to the attribute",
        )
    if leaves:
        return f"{attribute.name} {member!r} is a group of members", f"say which: {', '.join(leaves)}"
    return (
        f"the prior's attribute {attribute.name} has no member {member!r}, only {known}",
        "add it, or `unknown`, to the attribute in the prior",
    )


def record_codes(table: PriorTable | None, stated: Mapping[str, str]) -> dict[str, int]:
    """The code of each attribute that a record decides; the record has passed `missing_member`."""
    codes: dict[str, int] = {}
    for attribute in table.header.attributes if table is not None else ():
        code = attribute.code(stated.get(attribute.name))
        if attribute.name != MODALITY and code is not None:
            codes[attribute.name] = code
    return codes


def count_tokens(dataset: ConversationDataset, table: PriorTable) -> NDArray[np.int64]:
    """Tokens of each class in one pass over a dataset, without padding.

    Returns:
        [C] int64, C token classes as in `table.row`.
    """
    sequences = len(dataset)
    modality = modality_codes(table)
    class_of_vision = np.zeros(sequences, np.int64)
    class_of_language = np.zeros(sequences, np.int64)
    for attribute in table.header.attributes:
        is_modality = attribute.name == MODALITY and modality is not None
        codes = modality if is_modality and modality is not None else (dataset.codes[attribute.name],) * 2
        class_of_vision = class_of_vision * len(attribute.members) + codes[0]
        class_of_language = class_of_language * len(attribute.members) + codes[1]
    counts = np.zeros(table.class_count, np.int64)
    np.add.at(counts, class_of_vision, dataset.image_tokens)
    np.add.at(counts, class_of_language, dataset.lengths - dataset.image_tokens)
    return counts
