"""Samples to a padded batch, with the code of every token for the prior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from dpsl.tokens import TOKEN_ATTRIBUTES
from dpsl.tokens.members import MODALITY, modality_codes
from dpsl.train.data.dataset import IGNORED, Sample
from priorlang.table.prior_table import PriorTable


class Collator:
    """Pads on the right. Which tokens are vision is read off the expanded input itself."""

    def __init__(
        self, *, pad_token_id: int, image_token_id: int | None, table: PriorTable | None = None
    ) -> None:
        """Remember the special tokens and the prior's codes.

        Raises:
            DpslError: the prior's modality lacks vision or language.
        """
        self._pad = pad_token_id
        self._image = image_token_id
        self._modality = modality_codes(table)

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """One batch.

        Returns:
            input_ids, attention_mask and labels, each [B, S] int64; pixel_values [I, 3, H, W] of all images
            in order, absent where the batch has none; token_attributes: what `Shaper.tokens` takes, the mask,
            modality [B, S] and the others [B] as int64 codes of the prior. Padding carries a code too: the
            mask is what leaves it out.
        """
        lengths = torch.tensor([len(sample.input_ids) for sample in samples])
        input_ids = pad_sequence([s.input_ids for s in samples], batch_first=True, padding_value=self._pad)
        labels = pad_sequence([s.labels for s in samples], batch_first=True, padding_value=IGNORED)
        mask = (torch.arange(input_ids.shape[1])[None, :] < lengths[:, None]).long()
        batch: dict[str, Any] = {"input_ids": input_ids, "attention_mask": mask, "labels": labels}
        pixels = [sample.pixel_values for sample in samples if sample.pixel_values is not None]
        if pixels:
            batch["pixel_values"] = torch.cat(pixels)
        batch[TOKEN_ATTRIBUTES] = self._attributes(samples, input_ids, mask)
        return batch

    def _attributes(self, samples: Sequence[Sample], input_ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        names = samples[0].codes
        attributes = {"mask": mask}
        attributes |= {name: torch.tensor([sample.codes[name] for sample in samples]) for name in names}
        if self._modality is not None:
            vision, language = self._modality
            is_image = mask.bool() & (
                input_ids == self._image if self._image is not None else mask.new_zeros(())
            )
            attributes[MODALITY] = torch.where(is_image, vision, language)
        return attributes
