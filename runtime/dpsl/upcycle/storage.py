"""Read a model back from a folder, upcycled or dense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from dpsl.errors import UpcycleError
from dpsl.upcycle.classes import UPCYCLED, model_class_of
from dpsl.upcycle.plan import UpcyclePlan
from priorlang.diagnostics.suggest import listing


def load_model(folder: str | Path, **options: Any) -> nn.Module:
    """A model saved by `save_pretrained`, with the structure that `dpsl.upcycle` gave it.

    Args:
        folder: a folder, or a hub name.
        options: passed to transformers' `from_pretrained` (`dtype=…`).

    Raises:
        UpcycleError: the folder holds no model, weights are missing, or its class is not one of transformers.
    """
    import transformers

    from dpsl.regularizers.selection_hook import BIAS, load_with_biases

    try:
        config = transformers.AutoConfig.from_pretrained(str(folder))
    except (OSError, ValueError) as error:
        first_line = str(error).splitlines()[0]
        raise UpcycleError(
            str(folder),
            f"no model can be read here ({first_line})",
            "give a folder that save_pretrained wrote",
        ) from None
    name = (config.architectures or ["none"])[0]
    model_class = model_class_of(name)
    if model_class is None:
        raise UpcycleError(
            f"{folder}: config.json",
            f"class {name!r} is not known",
            "install the transformers it was saved with",
        )
    if name not in UPCYCLED and getattr(config, BIAS, None):
        return load_with_biases(model_class, str(folder), options)
    if name in UPCYCLED:
        UpcyclePlan.from_config(config.upcycled or {})
    return _load_strictly(model_class, str(folder), options)


def _load_strictly(model_class: Any, folder: str, options: dict[str, Any]) -> nn.Module:
    """Refuse what transformers fills in with random weights: an expert, or the FFN of a folder that has experts."""
    try:
        model, loaded = model_class.from_pretrained(folder, output_loading_info=True, **options)
    except RuntimeError as error:
        if "mismatch" not in str(error):
            raise
        raise UpcycleError(
            folder,
            "the weights do not have the shapes that config.json states",
            "save the model again, or correct config.json",
        ) from None
    if loaded["missing_keys"]:
        raise UpcycleError(
            folder,
            f"no weights for {listing(sorted(loaded['missing_keys']), 3)}",
            "save the model again, or correct config.json",
        )
    whole: nn.Module = model
    return whole
