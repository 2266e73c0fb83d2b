"""Conversations to tokens: in this process, or in several where there is much to do.

Each conversation is tokenised by itself, so what comes out does not depend on how many processes there are.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsl.errors import DpslError
from dpsl.train.data.chat import ChatError, ChatFormat, Piece
from dpsl.train.data.progress import Tell, silent
from dpsl.train.data.token_store import Tokens, TokenStore, joined
from dpsl.train.data.turns import Turn
from dpsl.train.processes import end_with_parent

Conversation = tuple[Turn, ...]

TOGETHER = 64
"""Conversations that are tokenised in one call."""

MUCH = 20_000_000
"""Characters from which several processes are worth their start: several seconds' work for one."""

MOST_PROCESSES = 16


@dataclass(frozen=True)
class Tokenised:
    """Every record's tokens.

    Attributes:
        store: the tokens; none for what was refused.
        refused: record → why its conversation cannot be learnt.
    """

    store: TokenStore
    refused: dict[int, ChatError]


def tokenise(
    conversations: Sequence[Conversation],
    encoder: Encoder,
    *,
    processes: int = 1,
    tell: Tell = silent,
    much: int = MUCH,
) -> Tokenised:
    """Tokenise every record's conversation, equal ones once.

    Args:
        conversations: one for each record.
        encoder: the model's.
        processes: how many may share the work where there is much of it.
        tell: hears how far it is.
        much: how many characters are much.

    Raises:
        DpslError: one of the processes was killed.
    """
    place: dict[Conversation, int] = {}
    conversation = [place.setdefault(turns, len(place)) for turns in conversations]
    distinct = list(place)
    characters = sum(len(turn.text) for turns in distinct for turn in turns)
    chunks = [distinct[start : start + TOGETHER] for start in range(0, len(distinct), TOGETHER)]
    processes = min(processes, len(chunks)) if characters >= much else 1
    errors: list[ChatError | None] = []

    def parts() -> Iterator[Tokens]:
        encoded = _in_several(chunks, encoder, processes) if processes > 1 else map(encoder, chunks)
        for tokens, problems in encoded:
            errors.extend(problems)
            tell("conversations tokenised", len(errors), len(distinct))
            yield tokens

    store = joined(parts(), conversation)
    refused = {
        record: error for record, which in enumerate(conversation) if (error := errors[which]) is not None
    }
    return Tokenised(store, refused)


def usable_processes() -> int:
    """How many processes this machine has cores for, up to MOST_PROCESSES."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_PROCESSES)


class Encoder:
    """What turns the conversations of one model into tokens.

    Attributes:
        image_token_id: the token that stands for an image; None for a text model.

    Args:
        processor: the model's processor, or its tokenizer where it has no vision tower.

    Raises:
        DpslError: the tokenizer does not tell which characters a token stands for.
    """

    def __init__(self, processor: Any) -> None:
        self._tokenizer = getattr(processor, "tokenizer", processor)
        if not getattr(self._tokenizer, "is_fast", False):
            raise DpslError(
                f"the model's {type(self._tokenizer).__name__}",
                "it does not tell which characters a token stands for",
                "use the fast form of the tokenizer, a tokenizer.json in the model folder",
            )
        self._chat = ChatFormat(processor)
        image_token = getattr(processor, "image_token", None)
        self.image_token_id = (
            None if image_token is None else int(self._tokenizer.convert_tokens_to_ids(image_token))
        )
        bos = self._tokenizer.bos_token_id
        starts = bos is not None and self._tokenizer("").input_ids[:1] == [bos]
        self._bos: int | None = bos if starts else None

    def identity(self) -> str:
        """All that decides what comes out, as text."""
        backend = json.loads(self._tokenizer.backend_tokenizer.to_str())
        # These change whenever a tokenizer is called.
        state = {name: value for name, value in backend.items() if name not in ("truncation", "padding")}
        special = {name: str(token) for name, token in self._tokenizer.special_tokens_map.items()}
        return json.dumps([state, special, self._chat.identity, self.image_token_id], sort_keys=True)

    def __call__(self, conversations: Sequence[Conversation]) -> tuple[Tokens, list[ChatError | None]]:
        """The tokens of each conversation, and why it cannot be learnt, which leaves it without tokens."""
        written = [self._pieces(turns) for turns in conversations]
        errors = [found if isinstance(found, ChatError) else None for found in written]
        pieces = [[] if isinstance(found, ChatError) else found for found in written]
        return self._tokens(pieces), errors

    def _pieces(self, turns: Conversation) -> list[Piece] | ChatError:
        try:
            return self._chat.pieces(turns)
        except ChatError as error:
            return error

    def _tokens(self, pieces: Sequence[Sequence[Piece]]) -> Tokens:
        """A token is learnt if the last of its characters is: it is then written after the prompt."""
        texts = ["".join(piece.text for piece in own) for own in pieces]
        encoded = self._tokenizer(
            texts,
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        lengths = np.array([len(ids) for ids in encoded["input_ids"]], np.int64)
        ids = _flat(encoded["input_ids"], np.int32)
        stops = _flat(map(chain.from_iterable, encoded["offset_mapping"]), np.int64)[1::2]
        first_character = np.cumsum([0, *map(len, texts)])[:-1]
        last = np.repeat(first_character, lengths) + np.maximum(stops - 1, 0)
        every = list(chain.from_iterable(pieces))
        learnt = np.repeat([p.learnt for p in every], [len(p.text) for p in every]).astype(np.bool_)[last]
        if self._bos is not None:
            ids, learnt, lengths = _begun(ids, learnt, lengths, [bool(own) for own in pieces], self._bos)
        return Tokens(ids, learnt, lengths, self._images(ids, lengths))

    def _images(self, ids: NDArray[np.int32], lengths: NDArray[np.int64]) -> NDArray[np.int32]:
        if self.image_token_id is None:
            return np.zeros(len(lengths), np.int32)
        whose = np.repeat(np.arange(len(lengths)), lengths)
        return np.bincount(whose[ids == self.image_token_id], minlength=len(lengths)).astype(np.int32)


def _flat(lists: Any, dtype: type) -> NDArray[Any]:
    return np.fromiter(chain.from_iterable(lists), dtype)


def _begun(
    ids: NDArray[np.int32],
    learnt: NDArray[np.bool_],
    lengths: NDArray[np.int64],
    wanted: Sequence[bool],
    bos: int,
) -> tuple[NDArray[np.int32], NDArray[np.bool_], NDArray[np.int64]]:
    """With a token in front of every wanted conversation that does not begin with it."""
    starts = np.cumsum(lengths) - lengths
    begins = np.array(
        [length > 0 and ids[start] == bos for start, length in zip(starts, lengths, strict=True)], np.bool_
    )
    missing = np.array(wanted, np.bool_) & ~begins
    places = starts[missing]
    return np.insert(ids, places, bos), np.insert(learnt, places, False), lengths + missing


def _in_several(
    chunks: Sequence[Sequence[Conversation]], encoder: Encoder, processes: int
) -> Iterator[tuple[Tokens, list[ChatError | None]]]:
    """In new processes, never forked ones: what torch and CUDA hold does not survive a fork."""
    with tempfile.TemporaryDirectory() as folder:
        # Through a file: what does not fit a pipe would make this process wait for each of them to start.
        file = Path(folder) / "encoder"
        file.write_bytes(pickle.dumps(encoder))
        pool = ProcessPoolExecutor(processes, get_context("spawn"), _begin, (file,))
        try:
            with _interrupts_held():
                results = pool.map(_encode, chunks)
            yield from results
        except BrokenProcessPool:
            raise DpslError(
                "the data",
                f"one of {processes} processes that tokenise it was killed, as the kernel does when memory runs out",
                "free some memory and start again",
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes that start within never hear an interrupt; this one hears it afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_encoder: Encoder | None = None
"""In a process that tokenises for another."""


def _begin(file: Path) -> None:
    global _encoder
    end_with_parent()
    _encoder = pickle.loads(file.read_bytes())


def _encode(conversations: Sequence[Conversation]) -> tuple[Tokens, list[ChatError | None]]:
    assert _encoder is not None
    return _encoder(conversations)
