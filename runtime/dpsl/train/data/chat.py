"""Conversations as text: the model's own chat template where it has one, else LLaVA's plain format.

The plain format is `USER: question ASSISTANT: answer</s>`, turn after turn, with a system text and a space
in front. What is learnt is each answer and the end that follows it; nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2.exceptions import TemplateError

from dpsl.errors import DpslError
from dpsl.train.data.turns import PLACEHOLDER, Turn

Message = dict[str, Any]
"""A turn as chat templates read it."""


class ChatError(Exception):
    """Why a conversation cannot be learnt, and what to do about it."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem, fix)
        self.problem = problem
        self.fix = fix


@dataclass(frozen=True)
class Piece:
    """A stretch of text, and whether the model learns to write it."""

    text: str
    learnt: bool


class ChatFormat:
    """How one model writes conversations."""

    def __init__(self, processor: Any) -> None:
        """Find the template: the processor's own before its tokenizer's.

        Raises:
            DpslError: there are several templates, and none is the default.
        """
        self._tokenizer = getattr(processor, "tokenizer", processor)
        self._image_token = str(getattr(processor, "image_token", PLACEHOLDER))
        self._template = _default(getattr(processor, "chat_template", None) or self._tokenizer.chat_template)
        self._content_in_parts = self._template is not None and self._takes_parts()

    @property
    def identity(self) -> list[object]:
        """What decides how conversations are written: image token, and the template and what it reads, or None."""
        return [self._image_token, self._template, self._content_in_parts]

    def pieces(self, turns: Sequence[Turn]) -> list[Piece]:
        """The text of a conversation, or of plain text, in order.

        Raises:
            ChatError: the chat template refuses or rewrites the conversation.
        """
        if not any(turn.role == "user" for turn in turns):
            return [Piece(turn.text + self._end, learnt=True) for turn in turns if turn.role == "assistant"]
        return self._plain(turns) if self._template is None else self._templated(turns)

    def prompt(self, turns: Sequence[Turn]) -> str:
        """The text of a conversation that ends with a question, up to where the answer begins.

        Raises:
            ChatError: the chat template refuses it.
        """
        if self._template is not None:
            return self._render([self._messages(turns)], prompt=True)[0]
        return "".join(piece.text for piece in self._plain(turns))

    @property
    def _end(self) -> str:
        return self._tokenizer.eos_token or ""

    def _plain(self, turns: Sequence[Turn]) -> list[Piece]:
        pieces = []
        for turn in turns:
            text = turn.text.replace(PLACEHOLDER, self._image_token)
            if turn.role == "assistant":
                pieces.append(Piece(f" {text}{self._end}", learnt=True))
            else:
                pieces.append(
                    Piece(f"USER: {text} ASSISTANT:" if turn.role == "user" else f"{text} ", learnt=False)
                )
        return pieces

    def _templated(self, turns: Sequence[Turn]) -> list[Piece]:
        messages = self._messages(turns)
        places = [place for place, turn in enumerate(turns) if turn.role == "assistant"]
        prompts = self._render([messages[:place] for place in places], prompt=True)
        answers = self._render([messages[: place + 1] for place in places], prompt=False)
        pieces: list[Piece] = []
        written = ""
        for place, asked, answered in zip(places, prompts, answers, strict=True):
            if not asked.startswith(written) or not answered.startswith(asked):
                raise ChatError(
                    "the chat template rewrites earlier turns", "give the model folder one that only appends"
                )
            pieces.append(Piece(asked[len(written) :], learnt=False))
            pieces += self._answer(answered[len(asked) :], turns[place].text)
            written = answered
        return pieces

    def _answer(self, written: str, answer: str) -> list[Piece]:
        """The answer with its end: the template's own, or the end-of-sequence token where it writes none."""
        start = written.find(answer.strip())
        if start < 0:
            raise ChatError(
                "the chat template changes the answer's text", "give the model folder one that keeps it"
            )
        stop = start + len(answer.strip())
        ending = written[stop:].rstrip()
        if not ending:
            return [Piece(written[:stop] + self._end, learnt=True)]
        learnt = stop + len(ending)
        return [Piece(written[:learnt], learnt=True), Piece(written[learnt:], learnt=False)]

    def _render(self, conversations: list[list[Message]], *, prompt: bool) -> list[str]:
        """The text of each; together, as most of a call's time is not the template's."""
        try:
            texts = self._tokenizer.apply_chat_template(
                conversations,
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=prompt,
            )
        except TemplateError as error:
            raise ChatError(
                f"the chat template refuses it ({error})", "mend the conversation or drop it"
            ) from None
        return list(texts)

    def _messages(self, turns: Sequence[Turn]) -> list[Message]:
        return [{"role": turn.role, "content": self._content(turn.text)} for turn in turns]

    def _content(self, text: str) -> str | list[dict[str, str]]:
        if not self._content_in_parts:
            return text.replace(PLACEHOLDER, self._image_token)
        parts: list[dict[str, str]] = []
        for number, words in enumerate(text.split(PLACEHOLDER)):
            if number:
                parts.append({"type": "image"})
                words = words.removeprefix("\n")
            if words:
                parts.append({"type": "text", "text": words})
        return parts

    def _takes_parts(self) -> bool:
        """Whether the template reads content as a list of parts: tried out, since templates do not say."""
        self._content_in_parts = True
        try:
            text = self.prompt([Turn("user", f"{PLACEHOLDER}\nprobe")])
        except (ChatError, TypeError, ValueError):
            return False
        return "probe" in text and self._image_token in text and "'type'" not in text


def _default(template: str | dict[str, str] | None) -> str | None:
    if not isinstance(template, dict):
        return template
    if "default" not in template:
        raise DpslError(
            "the model's chat templates",
            f"they are {', '.join(template)}, and none is the default",
            "name one of them `default`",
        )
    return template["default"]
