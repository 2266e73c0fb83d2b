"""Tokens in bulk are those of one conversation at a time, whatever the number of processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from dpsl.errors import DpslError
from dpsl.train.data import tokenise as module
from dpsl.train.data.chat import ChatError, ChatFormat
from dpsl.train.data.tokenise import Conversation, Encoder, tokenise
from dpsl.train.data.turns import Turn

WORDS = st.text(alphabet="abcde xyz.?'é😀\n7", min_size=1, max_size=20).map(str.strip).filter(bool)
ROUNDS = st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4)
REFUSES_SEVEN = (
    "{% for m in messages %}{% if m['content'] == '7' %}{{ raise_exception('no sevens') }}{% endif %}"
    "{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


def conversation(rounds: Sequence[tuple[str, str]]) -> Conversation:
    return tuple(turn for asked, told in rounds for turn in (Turn("user", asked), Turn("assistant", told)))


def one_by_one(processor: Any, turns: Conversation, bos: int | None = None) -> tuple[list[int], list[bool]]:
    """What a conversation's tokens are, without regard to time: a token is learnt if its last character is."""
    tokenizer = getattr(processor, "tokenizer", processor)
    pieces = ChatFormat(processor).pieces(turns)
    learnt_of_character = [piece.learnt for piece in pieces for _ in piece.text]
    encoded = tokenizer(
        "".join(piece.text for piece in pieces), add_special_tokens=False, return_offsets_mapping=True
    )
    ids = encoded["input_ids"]
    learnt = [learnt_of_character[max(stop - 1, 0)] for _, stop in encoded["offset_mapping"]]
    return (ids, learnt) if bos is None or ids[0] == bos else ([bos, *ids], [False, *learnt])


def with_template(processor: Any, template: str | None = None, **options: Any) -> PreTrainedTokenizerFast:
    backend = processor.tokenizer.backend_tokenizer
    return PreTrainedTokenizerFast(
        tokenizer_object=type(backend).from_str(backend.to_str()),
        eos_token="<eos>",
        chat_template=template,
        **options,
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(talks=st.lists(ROUNDS, min_size=1, max_size=6))
def test_many_together_are_as_one_by_one(digits_processor: Any, talks: list[list[tuple[str, str]]]) -> None:
    conversations = [conversation(rounds) for rounds in talks]
    found = tokenise(conversations, Encoder(digits_processor))
    assert not found.refused
    for record, turns in enumerate(conversations):
        ids, learnt = one_by_one(digits_processor, turns)
        assert found.store.of(record)[0].tolist() == ids
        assert found.store.of(record)[1].tolist() == learnt


def test_a_beginning_comes_in_front_of_those_that_lack_it(digits_processor: Any) -> None:
    tokenizer = with_template(digits_processor, bos_token="<user>")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<user> $A", special_tokens=[("<user>", 3)]
    )
    plain = [(Turn("assistant", text),) for text in ("seven", "<user>seven", "eight nine")]
    found = tokenise([*plain, conversation([("Which?", "seven")])], Encoder(tokenizer))
    for record, turns in enumerate([*plain, conversation([("Which?", "seven")])]):
        ids, learnt = one_by_one(tokenizer, turns, bos=3)
        assert found.store.of(record)[0].tolist() == ids
        assert found.store.of(record)[1].tolist() == learnt


def test_equal_conversations_are_stored_once_and_images_are_counted(digits_processor: Any) -> None:
    once, twice = conversation([("<image>\nWhich?", "7")]), conversation([("<image><image> Same?", "no")])
    store = tokenise([once, twice, once], Encoder(digits_processor)).store
    assert store.conversation.tolist() == [0, 1, 0]
    assert len(store.offsets) == 3
    assert store.record_images.tolist() == [1, 2, 1]
    assert store.record_lengths.tolist() == [len(store.of(record)[0]) for record in range(3)]
    assert store.head(2).record_images.tolist() == [1, 2]
    assert np.shares_memory(store.head(2).ids, store.ids)


def test_several_processes_give_the_same_bits_and_the_same_refusals(
    digits_processor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOGETHER", 3)
    encoder = Encoder(with_template(digits_processor, REFUSES_SEVEN))
    conversations = [
        conversation([("Which?", str(number)), ("Sure?", "yes " * number)]) for number in range(1, 12)
    ]
    conversations += conversations[4:8]
    told: list[tuple[str, int, int]] = []
    alone = tokenise(conversations, encoder)
    shared = tokenise(conversations, encoder, processes=2, much=0, tell=lambda *how: told.append(how))
    for name in ("ids", "learnt", "offsets", "images", "conversation"):
        ours, theirs = getattr(alone.store, name), getattr(shared.store, name)
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs), name
    assert list(alone.refused) == list(shared.refused) == [6, 13]
    assert isinstance(shared.refused[6], ChatError)
    assert shared.refused[6].problem == alone.refused[6].problem == "the chat template refuses it (no sevens)"
    assert len(alone.store.of(6)[0]) == 0
    assert told == [("conversations tokenised", done, 11) for done in (3, 6, 9, 11)]


def test_a_process_that_is_killed_is_told(digits_processor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOGETHER", 1)
    with pytest.raises(DpslError, match="one of 2 processes that tokenise it was killed"):
        tokenise(
            [conversation([("Which?", str(number))]) for number in range(4)],
            Killed(digits_processor),
            processes=2,
            much=0,
        )


class Killed(Encoder):
    """As when memory runs out."""

    def __call__(self, conversations: Sequence[Conversation]) -> Any:
        """End the process."""
        os.kill(os.getpid(), signal.SIGKILL)


def test_little_is_done_here(digits_processor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_in_several", lambda *_: pytest.fail("processes for little"))
    monkeypatch.setattr(module, "TOGETHER", 1)
    talks = [conversation([("Which?", "seven")]), conversation([("Which?", "eight")])]
    assert len(tokenise(talks, Encoder(digits_processor), processes=8).store) == 2


def test_nothing_at_all(digits_processor: Any) -> None:
    store = tokenise([], Encoder(digits_processor)).store
    assert (len(store), store.offsets.tolist(), len(store.ids)) == (0, [0], 0)


def test_a_process_that_tokenises_loads_no_torch() -> None:
    code = "import sys, dpsl.train.data.tokenise; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
