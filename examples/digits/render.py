"""Scans of scikit-learn's handwritten digits, rendered as small coloured images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOURS = {
    "red": (1.0, 0.2, 0.2),
    "green": (0.2, 0.9, 0.3),
    "blue": (0.3, 0.4, 1.0),
    "yellow": (1.0, 0.9, 0.2),
}
SIZE = 32
SHIFT = 3
NOISE = 0.03
HELD_OUT_SHARE = 0.2


@dataclass(frozen=True)
class Scan:
    """One handwritten digit: its intensities [8, 8] in 0..1, and which digit it is."""

    intensity: NDArray[np.float32]
    digit: int


def load_scans(limit: int | None = None) -> list[Scan]:
    """The 1,797 scans that scikit-learn ships, or the first `limit` of them."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    scans = zip(bunch.images.astype(np.float32) / 16.0, bunch.target, strict=True)
    return [Scan(intensity, int(digit)) for intensity, digit in scans][:limit]


def split_scans(scans: list[Scan], rng: np.random.Generator) -> tuple[list[Scan], list[Scan]]:
    """Training and held-out scans: no scan is in both, so held-out accuracy is about unseen handwriting."""
    order = rng.permutation(len(scans))
    held_out = int(np.ceil(len(scans) * HELD_OUT_SHARE))
    return [scans[i] for i in order[held_out:]], [scans[i] for i in order[:held_out]]


def render(scan: Scan, colour: str, rng: np.random.Generator) -> Image.Image:
    """A 32×32 RGB image: enlarged, moved by up to three pixels, tinted, with a little noise."""
    enlarged = Image.fromarray(scan.intensity).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    shift = tuple(int(s) for s in rng.integers(-SHIFT, SHIFT + 1, size=2))
    ink_HW = np.roll(np.clip(np.asarray(enlarged), 0.0, 1.0), shift, axis=(0, 1))
    image_HWC = ink_HW[:, :, None] * np.asarray(COLOURS[colour])
    image_HWC = image_HWC + rng.normal(0.0, NOISE, image_HWC.shape)
    return Image.fromarray((np.clip(image_HWC, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8))
