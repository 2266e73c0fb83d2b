"""Follow the tokens of a sequence as a processor expands each image token into many."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from dpsl.errors import DpslError


def expand_codes(
    codes_T: Tensor, input_ids_T: Tensor, expanded_S: Tensor, image_token_id: int | Collection[int]
) -> Tensor:
    """Codes of tokens before images expand, for the sequence after it.

    Text tokens keep their order and number. An image token becomes a run of tokens, all of its code: where images lie
    apart each has its own run; where they touch, all have the same length.

    Args:
        codes_T: [T], of the sequence with one token for each image.
        input_ids_T: [T], that sequence.
        expanded_S: [S], the same after the processor; padding removed.
        image_token_id: the token, or tokens (as separators of image rows), that an image becomes.

    Returns:
        [S] codes.

    Raises:
        DpslError: one sequence is not the other, expanded.
    """
    ids = torch.tensor([image_token_id] if isinstance(image_token_id, int) else sorted(image_token_id))
    before_T, after_S = torch.isin(input_ids_T, ids), torch.isin(expanded_S, ids)
    if not torch.equal(input_ids_T[~before_T], expanded_S[~after_S]):
        raise DpslError(
            "expand_codes(…)",
            f"the text of the two sequences differs ({int((~before_T).sum())} and {int((~after_S).sum())} tokens)",
            "give the same text, without padding, and every id that images become as `image_token_id`",
        )
    repeats_T = torch.ones_like(input_ids_T)
    repeats_T[before_T] = _tokens_of_images(before_T, after_S)
    return codes_T.repeat_interleave(repeats_T)


def _tokens_of_images(before_T: Tensor, after_S: Tensor) -> Tensor:
    """How many tokens each image became: a run of images shares the run of tokens at its place."""
    images, tokens = _runs(before_T), _runs(after_S)
    if len(images) != len(tokens):
        raise DpslError(
            "expand_codes(…)",
            f"{len(images)} run(s) of images became {len(tokens)} run(s) of tokens",
            "name every id that images become, separators as well, as `image_token_id`",
        )
    counts = []
    for together, length in zip(images, tokens, strict=True):
        if length % together:
            raise DpslError(
                "expand_codes(…)",
                f"{together} images side by side became {length} tokens",
                "put text between images of different sizes",
            )
        counts += [length // together] * together
    return torch.tensor(counts, dtype=torch.int64)


def _runs(flags_T: Tensor) -> list[int]:
    """Lengths of the runs of True."""
    padded = torch.cat([flags_T.new_zeros(1), flags_T, flags_T.new_zeros(1)]).int()
    steps = padded.diff()
    return ((steps == -1).nonzero() - (steps == 1).nonzero()).flatten().tolist()
