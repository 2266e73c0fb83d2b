"""What a record states of an attribute, as codes of the prior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dpsl.errors import DpslError
from priorlang.diagnostics.suggest import closest, listing
from priorlang.table.prior_table import TableAttribute


def codes_of_value(attribute: TableAttribute, value: Any, place: str) -> Tensor:
    """Codes of one record's value: [] for one member, [T] for a list of members.

    Args:
        attribute: the prior's.
        value: a member's name, a code, or a sequence of either; None: absent.
        place: the record, for messages.

    Raises:
        DpslError: it is absent, or no member.
    """
    if isinstance(value, Tensor) or hasattr(value, "__array__"):
        value = torch.as_tensor(value).tolist()
    if isinstance(value, Sequence) and not isinstance(value, str):
        known: dict[Any, int] = {}
        for member in value:
            if member not in known:
                known[member] = _code(attribute, member, place)
        return torch.tensor([known[member] for member in value], dtype=torch.int64)
    return torch.tensor(_code(attribute, value, place))


def _code(attribute: TableAttribute, member: Any, place: str) -> int:
    known = listing(attribute.members)
    if isinstance(member, int) and not isinstance(member, bool):
        if 0 <= member < len(attribute.members):
            return member
        raise DpslError(
            f"{place}: {attribute.name}",
            f"there is no code {member}",
            f"codes are places, from 0, in {known}",
        )
    if member is not None and not isinstance(member, str):
        raise DpslError(f"{place}: {attribute.name}", f"it is {member!r}", f"give a name or a code: {known}")
    code = attribute.code(member)
    if code is not None:
        return code
    if member is None:
        raise DpslError(
            f"{place}: {attribute.name}",
            "the prior looks this attribute up and the record does not state it",
            f"give every record a column `{attribute.name}` ({known}), or add `unknown` to its members",
        )
    leaves, near = dict(attribute.parents).get(member), closest(member, attribute.members)
    fix = (
        f"say which: {listing(leaves)}"
        if leaves
        else f"did you mean `{near}`?"
        if near
        else f"it has {known}"
    )
    raise DpslError(f"{place}: {attribute.name}", f"the prior has no such member {member!r}", fix)
