"""What a caller says about a batch's tokens, as one token class for every token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from dpsl.errors import AttachError
from dpsl.shaping.given import Layout
from priorlang.diagnostics.suggest import closest, listing
from priorlang.semantics.spec import UNKNOWN
from priorlang.table.prior_table import TableAttribute

Codes: TypeAlias = Tensor | Sequence[str] | str
IGNORED = -1
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
"""Dtypes of codes; a bool says whether, and not which."""


class TokenClasses:
    """The token classes of one batch.

    Codes may say less than the batch's shape (one name for all, one per sequence), so the class of every
    token is made when a router shows how many tokens there are.
    """

    def __init__(self, classes: Tensor, mask_BS: Tensor | None) -> None:
        self._classes = classes
        self._mask_BS = mask_BS
        self._resolved: dict[tuple[int, torch.device, Layout], Tensor] = {}

    def of_tokens(self, tokens: int, device: torch.device, layout: Layout = None) -> Tensor:
        """[N] int64: the class of each token, -1 where padding.

        Args:
            tokens: N.
            device: where they are wanted.
            layout: [B, S] in the order of the tokens, where that is known.

        Raises:
            AttachError: the batch described has another number of tokens, or another shape.
        """
        key = (tokens, device, layout)
        if key not in self._resolved:
            if layout is not None and layout[0] * layout[1] == tokens:
                self._check_layout(layout)
            self._resolved[key] = self._resolve(tokens).to(device)
        return self._resolved[key]

    def resolved(self) -> Tensor | None:
        """The classes of the tokens as a router saw them, -1 where padding; None: no router did yet."""
        return next(iter(self._resolved.values()), None)

    def _check_layout(self, layout: tuple[int, int]) -> None:
        """Shapes of as many tokens are refused where they put them in another order; one long row is in any order."""
        shape = tuple((self._mask_BS if self._mask_BS is not None else self._classes).shape)
        many = len(shape) == 2 and 1 not in (*shape, *layout) and shape[0] * shape[1] == layout[0] * layout[1]
        if shape[:1] == layout[:1] or not (many or len(shape) == 1):
            return
        raise AttachError(
            "shaper.tokens(…)",
            f"it describes tokens of shape {list(shape)}, the model has {list(layout)}",
            f"give codes and mask as {list(layout)}, in the order of the model's own tokens"
            + (", or one code for each sequence" if many else ""),
        )

    def _resolve(self, tokens: int) -> Tensor:
        classes = self._classes
        sequences = classes.shape[0] if classes.dim() else 1
        if classes.dim() < 2 and self._mask_BS is not None:
            classes = classes[..., None].expand(self._mask_BS.shape)
        elif classes.dim() < 2 and sequences and tokens % sequences == 0:
            classes = classes.reshape(-1, 1).expand(sequences, tokens // sequences)
        if classes.numel() != tokens:
            shape = "×".join(map(str, classes.shape))
            raise AttachError(
                "shaper.tokens(…)",
                f"it describes {classes.numel()} tokens ({shape}), the router saw {tokens}",
                "give codes and mask of the sequence as the decoder sees it, after image tokens expand",
            )
        if self._mask_BS is not None:
            classes = torch.where(self._mask_BS.to(classes.device), classes, IGNORED)
        return classes.reshape(-1)


def token_classes(
    attributes: Sequence[TableAttribute], given: Mapping[str, Codes], mask: Tensor | None
) -> TokenClasses:
    """The token classes that codes or member names make up; the first attribute is the most significant
    digit.

    Args:
        attributes: those of the table.
        given: per attribute, codes [B, S] or [B], one member name per sequence, or one for all.
        mask: [B, S], 0 where padding; None: every token counts.

    Raises:
        AttachError: an attribute the prior does not have, one that is missing, an unknown member or code,
            or shapes that do not agree.
    """
    if mask is not None and (not isinstance(mask, Tensor) or mask.dtype not in (torch.bool, *_INTEGERS)):
        kind = str(mask.dtype) if isinstance(mask, Tensor) else type(mask).__name__
        raise AttachError(
            "shaper.tokens(mask=…)",
            f"it is {kind}, and may mean anything: of additive masks 0 is what counts",
            "give an integer or bool tensor [B, S], 0 for padding",
        )
    names = [attribute.name for attribute in attributes]
    for name in given:
        if name not in names:
            near = closest(name, names)
            fix = f"did you mean {near!r}?" if near else f"it has {listing(names) or 'none'}"
            raise AttachError(f"shaper.tokens({name}=…)", "the prior has no such attribute", fix)
    shape = tuple(mask.shape) if mask is not None else None
    classes = torch.zeros((), dtype=torch.int64)
    for attribute in attributes:
        codes = _codes(attribute, given.get(attribute.name))
        shape = _agreed(attribute.name, tuple(codes.shape), shape)
        classes = _aligned(classes, codes) * len(attribute.members) + _aligned(codes, classes)
    if mask is not None and mask.dim() != 2:
        raise AttachError(
            "shaper.tokens(mask=…)", f"it has {mask.dim()} dimensions", "give it as [B, S], 0 for padding"
        )
    return TokenClasses(classes, None if mask is None else mask.detach().bool())


def _codes(attribute: TableAttribute, given: Codes | None) -> Tensor:
    place = f"shaper.tokens({attribute.name}=…)"
    if given is None:
        code = attribute.code(None)
        if code is None:
            raise AttachError(
                place,
                "the prior looks this attribute up and it is not given",
                f"give it, or add {UNKNOWN} to its members",
            )
        return torch.tensor(code)
    if isinstance(given, str):
        return torch.tensor(_code_of(attribute, given))
    if isinstance(given, Sequence) and all(isinstance(name, str) for name in given):
        return torch.tensor([_code_of(attribute, name) for name in given])
    if not isinstance(given, Tensor) or given.dtype not in _INTEGERS:
        kind = str(given.dtype) if isinstance(given, Tensor) else type(given).__name__
        raise AttachError(place, f"it is {kind}", "give an integer tensor of codes, or names of members")
    codes = given.detach().long()
    if codes.dim() not in (1, 2):
        raise AttachError(place, f"its shape is {tuple(codes.shape)}", "give codes as [B, S] or [B]")
    if codes.numel() and (int(codes.min()) < 0 or int(codes.max()) >= len(attribute.members)):
        reach = f"codes run from {int(codes.min())} to {int(codes.max())}"
        raise AttachError(place, reach, f"they are places, from 0, in {listing(attribute.members)}")
    return codes


def _code_of(attribute: TableAttribute, name: str) -> int:
    code = attribute.code(name)
    if code is not None:
        return code
    leaves = dict(attribute.parents).get(name)
    near = closest(name, attribute.members)
    if leaves:
        fix = f"tokens carry leaves: one of {listing(leaves)}"
    else:
        fix = f"did you mean {near!r}?" if near else f"it has {listing(attribute.members)}"
    raise AttachError(f"shaper.tokens({attribute.name}={name!r})", "the prior has no such member", fix)


def _agreed(name: str, shape: tuple[int, ...], known: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The fuller of two shapes that agree as far as both go."""
    if known is None or not shape:
        return shape or known
    if shape != known[: len(shape)] and known != shape[: len(known)]:
        raise AttachError(
            f"shaper.tokens({name}=…)",
            f"its shape {list(shape)} does not fit {list(known)} of the mask or the attributes before it",
            "give every one for the same batch",
        )
    return max(shape, known, key=len)


def _aligned(values: Tensor, other: Tensor) -> Tensor:
    """`values` [B] as [B, 1] where `other` is [B, S]; on the device of the fuller one."""
    device = other.device if other.dim() > values.dim() else values.device
    values = values.to(device)
    return values[:, None] if values.dim() == 1 and other.dim() == 2 else values
