"""A LLaVA put together from published parts: `model: {language_model: …, vision_tower: …}`.

    places ─→ configuration ─→ skeleton   (shapes alone, for a dry run)
                            ─→ model      (with the weights of the parts)
              processor                   (tokenizer, image token, image processor)

`places` says what of a folder or a hub name is on this machine.
"""

from dpsl.train.compose.configuration import composed_skeleton
from dpsl.train.compose.model import compose_model
from dpsl.train.compose.processor import compose_processor

__all__ = ["compose_model", "compose_processor", "composed_skeleton"]
