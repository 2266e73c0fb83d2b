"""Any collator, with the attributes that a prior looks up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dpsl.errors import DpslError
from dpsl.tokens.align import along_rows
from dpsl.tokens.members import MODALITY, modality_codes
from dpsl.tokens.values import codes_of_value
from priorlang.table.prior_table import PriorTable

TOKEN_ATTRIBUTES = "token_attributes"
"""The batch entry that is for `Shaper.tokens`, not for the model."""

SAMPLES = "seq_lengths"
"""The feature entry, of TRL's packing among others, that holds the lengths of the samples in a packed row."""


class TokenCollator:
    """Wraps a collator: its batch gains `token_attributes`, what `Shaper.tokens` takes.

    Attributes are read off the features, by the prior's names: a member's name or code for a whole sequence, a
    list of as many as it has tokens, or one for each sample of a row packed beforehand (with `seq_lengths`).
    They follow the tokens to wherever the collator puts them: padded on either side, or several features in one
    row. The modality, unless the features state it, is `vision` where a token is an image's, `language` elsewhere.

    Args:
        collator: makes the batch of the features without their attributes.
        table: the prior.
        image_token_id: the token, or tokens, that pieces of an image become.

    Raises:
        DpslError: the prior's modality lacks vision or language.
    """

    def __init__(
        self,
        collator: Callable[[list[dict[str, Any]]], Mapping[str, Any]],
        table: PriorTable,
        *,
        image_token_id: int | Collection[int] | None = None,
    ) -> None:
        self._collator = collator
        self._attributes = table.header.attributes
        self._modality = modality_codes(table)
        ids = [image_token_id] if isinstance(image_token_id, int) else (image_token_id or ())
        self._image_ids = torch.tensor(sorted(ids), dtype=torch.int64)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a data set that are read here; none of them reaches the model."""
        return tuple(attribute.name for attribute in self._attributes)

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """One batch.

        Returns:
            The collator's own, and `token_attributes`: the attributes' codes, [B, S], or [B] where rows are whole
            sequences of one member each; `mask` [B, S] where the batch has an attention mask.

        Raises:
            DpslError: a feature lacks an attribute, or states one that does not fit the prior or its tokens.
        """
        names = set(self.columns)
        bare = [{name: value for name, value in f.items() if name not in names} for f in features]
        batch = dict(self._collator(bare))
        input_ids, mask = batch.get("input_ids"), batch.get("attention_mask")
        if not isinstance(input_ids, Tensor) or input_ids.dim() != 2:
            raise DpslError(
                f"the batch of {type(self._collator).__name__}",
                "it has no `input_ids` [B, S], whose tokens attributes could describe",
                "use a collator that makes them",
            )
        described: dict[str, Tensor] = {}
        if isinstance(mask, Tensor) and mask.shape == input_ids.shape:
            described["mask"] = mask
        for attribute in self._attributes:
            if attribute.name == MODALITY and not any(MODALITY in feature for feature in features):
                if self._modality is not None:
                    vision, language = self._modality
                    is_image = torch.isin(input_ids, self._image_ids.to(input_ids.device))
                    described[MODALITY] = torch.where(is_image, vision, language)
                continue
            codes = [
                codes_of_value(attribute, feature.get(attribute.name), f"feature {place} of the batch")
                for place, feature in enumerate(features)
            ]
            described[attribute.name] = along_rows(
                attribute.name,
                codes,
                [_lengths(feature) for feature in features],
                input_ids,
                described.get("mask"),
            )
        batch[TOKEN_ATTRIBUTES] = described
        return batch


def _lengths(feature: Mapping[str, Any]) -> list[int] | None:
    """Lengths of the samples in a feature; None where it is not tokenised yet."""
    if feature.get(SAMPLES) is not None:
        return [int(length) for length in feature[SAMPLES]]
    return [len(feature["input_ids"])] if "input_ids" in feature else None
