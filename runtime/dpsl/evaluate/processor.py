"""The processor of a model folder that is evaluated, or its tokenizer where it reads text alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dpsl.errors import EvaluationError

_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "processor_config.json",
    "preprocessor_config.json",
)


def load_processor(model: Path) -> Any:
    """What turns conversations and images into a model's input.

    Args:
        model: a folder with its model.

    Raises:
        EvaluationError: there is none in the folder, or it cannot be read.
    """
    from transformers import AutoProcessor

    try:
        return AutoProcessor.from_pretrained(str(model))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if not any((model / name).is_file() for name in _FILES):
            raise EvaluationError(
                str(model), "no tokenizer or processor is in this folder", "copy them beside the weights"
            ) from None
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise EvaluationError(
            str(model),
            f"its tokenizer or processor cannot be read ({reason})",
            "copy all files of both beside the weights",
        ) from None


def require_images(model: Path) -> None:
    """Refuse a model that reads text alone.

    Raises:
        EvaluationError: its config has no vision tower, or cannot be read.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(str(model))
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise EvaluationError(
            str(model), f"no model can be read here ({reason})", "give a folder that save_pretrained wrote"
        ) from None
    if getattr(config, "vision_config", None) is None:
        raise EvaluationError(
            str(model),
            f"the questions show images, and this {config.model_type} model reads text alone",
            "name the folder of a LLaVA, or questions without images",
        )
