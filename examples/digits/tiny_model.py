"""The example's model folder: a tokenizer trained on its text, a processor, and a small configuration.

The folder has what a published LLaVA checkpoint has, but no weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from questions import PARITIES, WORDS
from render import COLOURS, SIZE

VOCABULARY = 1024
PATCH = 8
WIDTH = 64
TOWER_INITIAL = 0.2
"""Standard deviation of the patch weights: CLIP's own 0.02 is for far wider towers, and learns slowly here."""
PAD, END, IMAGE, USER, ASSISTANT = "<pad>", "<eos>", "<image>", "<user>", "<assistant>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<assistant> {{ message['content'] }}<eos>"
    "{% else %}<user>{{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def write_model_folder(folder: Path, texts: Iterable[str]) -> None:
    """Write tokenizer, processor and configuration, for AutoProcessor and AutoConfig.from_pretrained.

    Raises:
        SystemExit: an answer word did not become one token, so accuracy per token would mislead.
    """
    from transformers import CLIPImageProcessorPil, LlavaProcessor

    tokenizer = _train_tokenizer(texts)
    for word in (*WORDS, *PARITIES, *COLOURS):
        if len(tokenizer.encode(f" {word}", add_special_tokens=False)) != 1:
            raise SystemExit(
                f"the tokenizer split the answer word {word!r}: raise VOCABULARY in tiny_model.py"
            )
    image_processor = CLIPImageProcessorPil(
        size={"height": SIZE, "width": SIZE},
        crop_size={"height": SIZE, "width": SIZE},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    processor = LlavaProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE,
    )
    processor.save_pretrained(folder)
    _configuration(tokenizer).save_pretrained(folder)


def _train_tokenizer(texts: Iterable[str]):  # type annotations of transformers come with its import
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, END, IMAGE, USER, ASSISTANT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[IMAGE, USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        model_max_length=512,
    )


def _configuration(tokenizer):
    from transformers import CLIPVisionConfig, LlavaConfig, Qwen2Config

    tower = CLIPVisionConfig(
        image_size=SIZE,
        patch_size=PATCH,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        projection_dim=WIDTH,
        initializer_range=TOWER_INITIAL,
    )
    text = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = LlavaConfig(
        vision_config=tower,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=(SIZE // PATCH) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )
    config.architectures = ["LlavaForConditionalGeneration"]
    return config
