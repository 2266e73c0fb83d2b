"""Batches without images still run the image parts, on an empty picture whose weight is 0.

Ranks reduce gradients in the order in which they arrive, so every rank has to meet the same parameters in the same
order; and where ZeRO-3 shards parameters, every rank has to gather the same ones. A rank whose batch is all text would
otherwise wait for ever, or add one parameter's gradient to another's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dpsl.train.processes import world_size


class ImageParts:
    """Hooks on a multimodal model; made by `run_image_parts_always`."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._without_images = False
        self._joined = False
        self._handles = [model.register_forward_pre_hook(self._look, with_kwargs=True)]

    def detach(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _look(self, _model: nn.Module, _args: Any, inputs: dict[str, Any]) -> None:
        self._without_images = inputs.get("pixel_values") is None
        if not self._joined:
            # Only now, so that it comes after the hooks of an engine that has wrapped the model since.
            self._joined = True
            self._handles.append(self._model.get_input_embeddings().register_forward_hook(self._join))

    def _join(self, _embedding: nn.Module, _args: Any, embedded: Tensor) -> Tensor:
        """Where a batch's images join its text: after the embedding, before the first layer."""
        learning = torch.is_grad_enabled() and self._model.training
        if not self._without_images or not (learning or world_size() > 1):
            return embedded
        self._without_images = False
        size = self._model.config.vision_config.image_size
        pixels = torch.zeros(1, 3, size, size, device=embedded.device, dtype=self._model.dtype)
        features = self._model.get_image_features(pixel_values=pixels)
        features = getattr(features, "pooler_output", features)
        parts = [features] if isinstance(features, Tensor) else list(features)
        nothing = torch.stack([part.sum() for part in parts]).sum() * 0.0
        return embedded + nothing.to(embedded.dtype)


def run_image_parts_always(model: nn.Module) -> ImageParts | None:
    """Have every forward pass run the image parts; None for a model whose images are not of one fixed size."""
    vision = getattr(getattr(model, "config", None), "vision_config", None)
    if not hasattr(model, "get_image_features") or not hasattr(vision, "image_size"):
        return None
    return ImageParts(model)
