"""Conversations as text: the model's template, or LLaVA's plain format; answers and their ends are learnt."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from dpsl.errors import DpslError
from dpsl.train.data.chat import ChatError, ChatFormat
from dpsl.train.data.turns import Turn

LLAVA_IN_PARTS = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] + ' ' }}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SHOUTING = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}A:{% endif %}"
    "{{ message['content'].upper() }}{% endfor %}{% if add_generation_prompt %}A:{% endif %}"
)
FORGETFUL = (
    "{{ messages[-1]['content'] if add_generation_prompt else messages[-2]['content'] + ' ' + "
    "messages[-1]['content'] }}"
)
REFUSING = (
    "{{ raise_exception('no system turns') if messages[0]['role'] == 'system' else messages[-1]['content'] }}"
)
ROUND = (Turn("user", "<image>\nWhich?"), Turn("assistant", "seven"))
TWO_ROUNDS = (*ROUND, Turn("user", "Odd?"), Turn("assistant", "yes"))


@pytest.fixture
def chat(digits_processor: Any) -> Any:
    def build(template: str | None) -> ChatFormat:
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=digits_processor.tokenizer.backend_tokenizer,
            eos_token="<eos>",
            chat_template=template,
        )
        return ChatFormat(tokenizer)

    return build


def whole(chat: ChatFormat, turns: tuple[Turn, ...]) -> str:
    return "".join(piece.text for piece in chat.pieces(turns))


def learnt(chat: ChatFormat, turns: tuple[Turn, ...]) -> list[str]:
    return [piece.text for piece in chat.pieces(turns) if piece.learnt]


def test_the_example_s_own_template(digits_processor: Any) -> None:
    chat = ChatFormat(digits_processor)
    assert whole(chat, TWO_ROUNDS) == (
        "<user><image>\nWhich?<assistant> seven<eos><user>Odd?<assistant> yes<eos>"
    )
    assert learnt(chat, TWO_ROUNDS) == [" seven<eos>", " yes<eos>"]


def test_the_plain_format_without_a_template(chat: Any) -> None:
    turns = (Turn("system", "Be brief."), *TWO_ROUNDS)
    assert whole(chat(None), turns) == (
        "Be brief. USER: <image>\nWhich? ASSISTANT: seven<eos>USER: Odd? ASSISTANT: yes<eos>"
    )
    assert learnt(chat(None), turns) == [" seven<eos>", " yes<eos>"]


def test_a_template_with_content_in_parts_and_no_end_of_its_own(chat: Any) -> None:
    llava = chat(LLAVA_IN_PARTS)
    assert whole(llava, ROUND) == "USER: <image>\nWhich? ASSISTANT: seven<eos>"
    assert learnt(llava, TWO_ROUNDS) == [" seven<eos>", " yes<eos>"]


def test_a_template_with_an_end_of_its_own(chat: Any) -> None:
    turns = (Turn("system", "Be brief."), *ROUND)
    assert learnt(chat(CHATML), turns) == ["seven<|im_end|>"]
    assert whole(chat(CHATML), turns).startswith(
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n<image>"
    )


def test_text_without_a_question_has_no_template(digits_processor: Any) -> None:
    assert learnt(ChatFormat(digits_processor), (Turn("assistant", "Once."),)) == ["Once.<eos>"]


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        (SHOUTING, "changes the answer's text"),
        (FORGETFUL, "rewrites earlier turns"),
        (REFUSING, "refuses it (no system turns)"),
    ],
)
def test_a_template_that_does_not_serve_is_refused(chat: Any, template: str, problem: str) -> None:
    turns = (Turn("system", "Be brief."), *TWO_ROUNDS) if template == REFUSING else TWO_ROUNDS
    with pytest.raises(ChatError) as raised:
        chat(template).pieces(turns)
    assert problem in raised.value.problem
    assert raised.value.fix


def test_of_several_templates_the_default_is_taken(chat: Any) -> None:
    several = chat({"tools": SHOUTING, "default": CHATML})
    assert learnt(several, ROUND) == ["seven<|im_end|>"]
    with pytest.raises(
        DpslError, match="they are tools, and none is the default; name one of them `default`"
    ):
        chat({"tools": SHOUTING})
