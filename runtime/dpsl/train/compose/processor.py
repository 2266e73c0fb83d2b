"""The processor of a composed LLaVA: the text model's tokenizer, and the tower's image processor."""

from __future__ import annotations

from typing import Any

from dpsl.errors import ModelError
from dpsl.train.compose.configuration import vision_config
from priorlang.training.model_plan import ComposedPlan

IMAGE_TOKEN = "<image>"

LLAVA_CHAT = (
    "{%- macro content(message) -%}"
    "{%- if message['content'] is string -%}{{ message['content'] }}{%- else -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}{{ '<image>\n' }}{%- else -%}{{ part['text'] }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{%- endmacro -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' -%}{{ content(message) + ' ' }}"
    "{%- elif message['role'] == 'user' -%}{{ 'USER: ' + content(message) + ' ASSISTANT:' }}"
    "{%- else -%}{{ ' ' + content(message) + END }}{%- endif -%}"
    "{%- endfor -%}"
)
"""LLaVA-1.5's conversation; END stands for the tokenizer's end of a sequence."""


def compose_processor(plan: ComposedPlan, *, local: bool = False) -> Any:
    """A LlavaProcessor for the parts, the image token added to the tokenizer where it has none.

    Args:
        plan: the parts.
        local: read from this machine alone, never from the hub.

    Raises:
        ModelError: a part lacks its tokenizer or image processor.
    """
    from transformers import LlavaProcessor

    tokenizer = _tokenizer(plan, local)
    vision = vision_config(plan.vision_tower)
    if plan.chat == "own" and not tokenizer.chat_template:
        raise ModelError(
            "model: chat: own",
            f"the tokenizer of {plan.language_model} has no chat template",
            "leave `chat` out",
        )
    end = tokenizer.eos_token or ""
    template = tokenizer.chat_template if plan.chat == "own" else LLAVA_CHAT.replace("END", repr(end))
    return LlavaProcessor(
        image_processor=_image_processor(plan, local),
        tokenizer=tokenizer,
        patch_size=vision.patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE_TOKEN,
        chat_template=template,
    )


def _tokenizer(plan: ComposedPlan, local: bool) -> Any:
    from transformers import AutoTokenizer

    tokenizer = _loaded(AutoTokenizer, plan.language_model, "language_model", "tokenizer", local)
    if tokenizer.convert_tokens_to_ids(IMAGE_TOKEN) in (None, tokenizer.unk_token_id):
        tokenizer.add_special_tokens(
            {"additional_special_tokens": [IMAGE_TOKEN]}, replace_extra_special_tokens=False
        )
    return tokenizer


def _image_processor(plan: ComposedPlan, local: bool) -> Any:
    from transformers import AutoImageProcessor

    return _loaded(AutoImageProcessor, plan.vision_tower, "vision_tower", "image processor", local)


def _loaded(auto: Any, source: str, key: str, what: str, local: bool) -> Any:
    try:
        return auto.from_pretrained(source, local_files_only=local)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        fix = "check the name, and the connection where it is a hub name; or name a folder"
        raise ModelError(f"model: {key}: {source}", f"no {what} here ({reason})", fix) from None
