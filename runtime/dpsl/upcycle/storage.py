"""Read a model back from a folder, upcycled or dense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from dpsl.errors import UpcycleError
from dpsl.upcycle.block import block_like
from dpsl.upcycle.decoder import decoder_layers
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
    model_class = getattr(transformers, name, None)
    if model_class is None:
        raise UpcycleError(
            f"{folder}: config.json",
            f"class {name!r} is not known",
            "install the transformers it was saved with",
        )
    if getattr(config, "upcycled", None) is None:
        dense: nn.Module = model_class.from_pretrained(str(folder), **options)
        return dense
    return _load_upcycled(model_class, str(folder), UpcyclePlan.from_config(config.upcycled), options)


def _load_upcycled(model_class: Any, folder: str, plan: UpcyclePlan, options: dict[str, Any]) -> nn.Module:
    """Load through a subclass whose construction ends with the blocks in place.

    transformers' own loading then does all it does for the dense class: renamed weights, shards, tied
    embeddings. The subclass bears its parent's name, which transformers registers classes by, and is
    dropped at the end.
    """

    def build(self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        model_class.__init__(self, config, *args, **kwargs)
        _put_blocks(self, plan)

    names = {
        "__module__": model_class.__module__,
        "__qualname__": model_class.__qualname__,
        "__init__": build,
    }
    grown_class: Any = type(model_class.__name__, (model_class,), names)
    try:
        model, loaded = grown_class.from_pretrained(folder, output_loading_info=True, **options)
    except RuntimeError:
        raise UpcycleError(
            folder,
            "the weights do not have the shapes that config.json states",
            "save the upcycled model again",
        ) from None
    if loaded["missing_keys"]:
        raise UpcycleError(
            folder,
            f"no weights for {listing(sorted(loaded['missing_keys']), 3)}",
            "save the upcycled model again",
        )
    model.__class__ = model_class
    whole: nn.Module = model
    return whole


@torch.no_grad()
def _put_blocks(model: nn.Module, plan: UpcyclePlan) -> None:
    layers: Any = decoder_layers(model)
    for index in plan.routed:
        layers[index].mlp = block_like(layers[index].mlp, plan.to_config())
