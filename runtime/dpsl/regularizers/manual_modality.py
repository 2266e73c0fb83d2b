"""Manual modality routing: which experts a token may use at all, by what it is (the paper's baseline of Table 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dpsl.errors import AttachError
from priorlang.diagnostics.suggest import closest, listing
from priorlang.table.prior_table import TableAttribute
from priorlang.training.regularizers import ManualModality


def allowed_experts(
    plans: Sequence[ManualModality], attributes: Sequence[TableAttribute], experts: int, top_k: int
) -> Tensor:
    """Which experts the tokens of each token class may use: [C + 1, K], the last row for padding, which may use all.

    Several plans hold together. A member that no plan names may use all; a parent stands for all its leaves.

    Args:
        plans: of one layer.
        attributes: those that the plans name; the first is the most significant digit of a token class.
        experts: K.
        top_k: k.

    Raises:
        AttachError: an attribute, member or expert that is not there, or fewer experts than a token needs.
    """
    allowed = torch.ones(*(len(attribute.members) for attribute in attributes), experts, dtype=torch.bool)
    for plan in plans:
        place = [attribute.name for attribute in attributes].index(plan.attribute)
        attribute = attributes[place]
        of_member = torch.ones(len(attribute.members), experts, dtype=torch.bool)
        for member, usable in plan.allow.items():
            _check_experts(plan, member, usable, experts)
            row = torch.zeros(experts, dtype=torch.bool)
            row[list(usable)] = True
            of_member[_codes(plan, attribute, member)] = row
        shape = [1] * len(attributes) + [experts]
        shape[place] = len(attribute.members)
        allowed &= of_member.view(shape)
    allowed_CK = torch.cat([allowed.reshape(-1, experts), torch.ones(1, experts, dtype=torch.bool)])
    if bool((allowed_CK.sum(-1) < top_k).any()):
        raise AttachError(
            "regularizers: manual_modality: allow",
            f"a token may use {int(allowed_CK.sum(-1).min())} expert(s), and goes to {top_k}",
            "allow as many as a token goes to, for every member",
        )
    return allowed_CK


def attributes_of(
    plans: Sequence[ManualModality], known: Sequence[TableAttribute]
) -> tuple[TableAttribute, ...]:
    """The attributes that the plans name, in the order of `known`.

    Raises:
        AttachError: one is not known.
    """
    names = [attribute.name for attribute in known]
    for plan in plans:
        if plan.attribute not in names:
            near = closest(plan.attribute, names)
            raise AttachError(
                f"regularizers: manual_modality: attribute {plan.attribute!r}",
                "no such attribute is known",
                f"did you mean {near!r}?"
                if near
                else f"attach with attributes=table.header.attributes; known: {listing(names) or 'none'}",
            )
    wanted = {plan.attribute for plan in plans}
    return tuple(attribute for attribute in known if attribute.name in wanted)


def _codes(plan: ManualModality, attribute: TableAttribute, member: str) -> list[int]:
    leaves = dict(attribute.parents).get(member, (member,))
    unknown = [leaf for leaf in leaves if leaf not in attribute.members]
    if unknown:
        near = closest(member, [*attribute.members, *dict(attribute.parents)])
        raise AttachError(
            f"regularizers: manual_modality: allow: {member}",
            f"{attribute.name} has no such member",
            f"did you mean {near!r}?" if near else f"it has {listing(attribute.members)}",
        )
    return [attribute.members.index(leaf) for leaf in leaves]


def _check_experts(plan: ManualModality, member: str, usable: Sequence[int], experts: int) -> None:
    if usable and max(usable) >= experts:
        raise AttachError(
            f"regularizers: manual_modality: allow: {member}",
            f"there is no expert {max(usable)}",
            f"they are numbered 0 to {experts - 1}",
        )
