"""Lay the codes of features along the rows of a batch, wherever a collator has put their tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dpsl.errors import DpslError


def along_rows(
    name: str,
    codes: Sequence[Tensor],
    lengths: Sequence[Sequence[int] | None],
    input_ids: Tensor,
    mask_BS: Tensor | None,
) -> Tensor:
    """Codes of the tokens of a batch.

    A collator may pad on either side and may put several features into one row, in order: the tokens that the mask
    leaves are then those of the features, one after the other.

    Args:
        name: the attribute, for messages.
        codes: of each feature: [] for all its tokens, [T] for each, or one for each of its samples.
        lengths: of each feature, the tokens of each sample in it; None: it was no tokens yet.
        input_ids: [B, S], the batch.
        mask_BS: 0 for padding; None: there is none.

    Returns:
        [B] where every feature is a row of one member, else [B, S]; padding has code 0.

    Raises:
        DpslError: numbers of tokens that do not agree.
    """
    rows = input_ids.shape[0]
    if rows == len(codes) and all(code.dim() == 0 for code in codes):
        return torch.stack(list(codes)).to(input_ids.device)
    per_token = torch.cat(
        [
            _per_token(name, place, code, samples)
            for place, (code, samples) in enumerate(zip(codes, lengths, strict=True))
        ]
    )
    valid_BS = torch.ones_like(input_ids, dtype=torch.bool) if mask_BS is None else mask_BS.bool()
    if mask_BS is not None and rows == len(codes):
        _check_rows(name, lengths, valid_BS)
    if int(valid_BS.sum()) != len(per_token):
        raise DpslError(
            f"attribute {name}",
            f"the features have {len(per_token)} tokens, the batch has {int(valid_BS.sum())}",
            "cut and expand sequences before the collator, and have it give an attention_mask where it pads",
        )
    laid_BS = torch.zeros_like(input_ids)
    laid_BS[valid_BS] = per_token.to(input_ids.device)
    return laid_BS


def _per_token(name: str, place: int, code: Tensor, samples: Sequence[int] | None) -> Tensor:
    where = f"feature {place} of the batch: {name}"
    if samples is None:
        raise DpslError(
            where,
            "it says what single tokens are, but the feature has no `input_ids` yet",
            "tokenise before the collator, or give one member for the whole sequence",
        )
    tokens = sum(samples)
    if code.dim() == 0:
        return code.expand(tokens)
    if len(code) == tokens:
        return code
    if len(code) == len(samples):
        return code.repeat_interleave(torch.tensor(samples))
    raise DpslError(
        where,
        f"it has {len(code)} members for {tokens} tokens in {len(samples)} sample(s)",
        "give one for each token, one for each sample, or one for all",
    )


def _check_rows(name: str, lengths: Sequence[Sequence[int] | None], valid_BS: Tensor) -> None:
    for place, (samples, kept) in enumerate(zip(lengths, valid_BS.sum(1).tolist(), strict=True)):
        if samples is not None and sum(samples) != kept:
            raise DpslError(
                f"feature {place} of the batch: {name}",
                f"it has {sum(samples)} tokens, its row has {kept}",
                "cut and expand sequences before the collator",
            )
