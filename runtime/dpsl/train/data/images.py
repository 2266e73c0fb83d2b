"""Images: checked before training, decoded when they are needed."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from dpsl.errors import DataError, DataProblem, DpslError
from dpsl.train.data.progress import Tell, silent

_BROKEN = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What Pillow raises on damaged files; a broken PNG chunk is a SyntaxError."""


Complaint = tuple[str, str]
"""What is wrong, and the fix."""

READERS, TOGETHER = 16, 1024
"""Threads that open files, most of whose time is the disk's, and files that they are given at a time."""


def image_problems(
    paths: Iterable[Path], *, verify: bool, tell: Tell = silent
) -> dict[Path, Complaint | None]:
    """What is wrong with image files, each looked at once; None where nothing is.

    Args:
        paths: the files.
        verify: open each, without decoding its pixels; else it need only be there.
        tell: hears how far it is.
    """
    distinct = list(dict.fromkeys(paths))
    found: dict[Path, Complaint | None] = {}
    with warnings.catch_warnings(), ThreadPoolExecutor(READERS) as readers:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        for start in range(0, len(distinct), TOGETHER):
            some = distinct[start : start + TOGETHER]
            found |= zip(some, readers.map(partial(_problem, verify=verify), some), strict=True)
            tell("images checked", len(found), len(distinct))
    return found


def _problem(path: Path, *, verify: bool) -> Complaint | None:
    if not path.is_file():
        return (
            f"image {path} not found",
            "`images` names the folder that image paths start from",
        )
    if verify:
        try:
            with Image.open(path) as image:
                image.verify()
        except _BROKEN as error:
            return _broken(path, error)
    return None


class ImageLoader:
    """Files to pixel values, through the model's image processor, with the latest kept in memory.

    Attributes:
        tokens_per_image: image tokens that one image becomes in the model's input; 0 without a vision tower.
    """

    def __init__(self, processor: Any, cache_bytes: int) -> None:
        """Measure the processor on a blank image.

        Raises:
            DpslError: the processor does not turn every image into the same number of tokens.
        """
        self._image_processor = getattr(processor, "image_processor", None)
        self._cache: OrderedDict[Path, Tensor] = OrderedDict()
        self._cache_bytes = cache_bytes
        self._held_bytes = 0
        self.tokens_per_image = 0
        if self._image_processor is not None:
            self.tokens_per_image = _tokens_per_image(processor, self._process(Image.new("RGB", (48, 32))))

    def load(self, path: Path, place: str) -> Tensor:
        """Pixel values [3, H, W] float32 of a file.

        Raises:
            DataError: the file cannot be decoded; `place` names the record in the message.
        """
        if path in self._cache:
            self._cache.move_to_end(path)
            return self._cache[path]
        try:
            with Image.open(path) as image:
                pixels = self._process(image.convert("RGB"))
        except _BROKEN as error:
            raise DataError([DataProblem(place, *_broken(path, error))]) from None
        self._keep(path, pixels)
        return pixels

    def _process(self, image: Image.Image) -> Tensor:
        assert self._image_processor is not None
        return torch.as_tensor(self._image_processor(images=image, return_tensors="pt")["pixel_values"][0])

    def _keep(self, path: Path, pixels: Tensor) -> None:
        self._cache[path] = pixels
        self._held_bytes += pixels.nbytes
        while self._held_bytes > self._cache_bytes and self._cache:
            _, dropped = self._cache.popitem(last=False)
            self._held_bytes -= dropped.nbytes


def _tokens_per_image(processor: Any, pixels: Tensor) -> int:
    patch = getattr(processor, "patch_size", None)
    if patch is None or pixels.dim() != 3:
        raise DpslError(
            f"the model's {type(processor).__name__}",
            "it does not say how many tokens an image becomes",
            "use a model whose images all become the same number of tokens, as with LlavaProcessor, "
            "and state `patch_size` in its processor_config.json",
        )
    _, height, width = pixels.shape
    tokens: int = (height // patch) * (width // patch) + int(processor.num_additional_image_tokens)
    dropped = 1 if processor.vision_feature_select_strategy == "default" else 0
    return tokens - dropped


def _broken(path: Path, error: BaseException) -> tuple[str, str]:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"image {path} is broken ({reason})", "replace the file or drop the record"
