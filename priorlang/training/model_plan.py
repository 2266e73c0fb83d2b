"""Where the first weights come from: a config alone, or a LLaVA put together from published parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Tag

from priorlang.training.strict import Strict

COMPOSED_KEYS = ("language_model", "vision_tower")
"""Either of them makes `model` a composition."""


class ModelPlan(Strict):
    """A model from scratch: a transformers config, and the seed of its weights."""

    config: Path
    seed: int = 0


class PartConfigs(Strict):
    """Configs without weights, one for each part of a composition."""

    language_model: Path
    """The folder of the text model's config.json."""
    vision_tower: Path
    """The folder of the vision tower's config.json."""


class ComposedPlan(Strict):
    """A LLaVA from a text model, a CLIP vision tower, and a projector that has learnt nothing yet."""

    language_model: str
    """A text model, its tokenizer included: a folder or a hub name."""
    vision_tower: str
    """A CLIP model, its image processor included: a folder or a hub name."""
    vision_feature_layer: int = -2
    """The layer of the tower whose output is projected, as LLaVA-1.5 has it."""
    chat: Literal["llava", "own"] = "llava"
    """How conversations are written: as LLaVA-1.5 does, or by the text model's own chat template."""
    seed: int = 0
    """The seed of the projector."""
    configs: PartConfigs | None = None
    """What `--dry-run` reads of a part that is not on this machine."""


def _form(given: Any) -> str:
    if isinstance(given, ComposedPlan):
        return "composed"
    composed = isinstance(given, dict) and any(key in given for key in COMPOSED_KEYS)
    return "composed" if composed else "scratch"


AnyModelPlan = Annotated[
    Annotated[ModelPlan, Tag("scratch")] | Annotated[ComposedPlan, Tag("composed")], Discriminator(_form)
]
