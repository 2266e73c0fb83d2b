"""Data that was read is kept whole or not at all, and damage is noticed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpsl.train.data import kept as module
from dpsl.train.data.flat_records import FlatRecords
from dpsl.train.data.kept import DataRead, content_key, drop_unfinished, keep, kept
from dpsl.train.data.records import DataSource, Record
from dpsl.train.data.tokenise import Encoder, tokenise
from dpsl.train.data.turns import Turn
from dpsl.train.run_folder import RunFolderError

TEXT = st.text(max_size=12)
RECORDS = st.lists(
    st.builds(
        Record,
        TEXT,
        st.lists(st.builds(Path, TEXT.filter(lambda text: "\0" not in text)), max_size=3).map(tuple),
        st.just(()),
        st.dictionaries(st.sampled_from(["task", "dataset"]), TEXT),
    ),
    max_size=6,
)


@given(records=RECORDS)
def test_flat_records_are_the_records_less_their_turns(records: list[Record]) -> None:
    flat = FlatRecords.of(records)
    assert len(flat) == len(records)
    assert list(flat) == records
    assert flat[1:] == records[1:]
    if records:
        assert flat[-1] == records[-1]


def test_flat_records_take_text_that_is_not_utf8() -> None:
    record = Record("a \ud800 place", (Path(os.fsdecode(b"\xff.png")),), (), {})
    assert FlatRecords.of([record])[0] == record


@pytest.fixture
def read(digits_processor: Any) -> DataRead:
    turns = (Turn("user", "Which?"), Turn("assistant", "seven"))
    others = (Turn("user", "<image> Which?"), Turn("assistant", "eight"))
    records = [
        Record("a.json record 0", (), turns, {"task": "digit"}),
        Record("a.json record 1", (Path("x/a.png"),), others, {"task": "digit"}),
        Record("a.json record 2", (), turns, {}),
    ]
    store = tokenise([record.turns for record in records], Encoder(digits_processor)).store
    return DataRead("0123", records, store)


@pytest.mark.parametrize("checked", [True, False])
def test_what_was_kept_is_mapped(read: DataRead, tmp_path: Path, checked: bool) -> None:
    keep(tmp_path / "tokens", read)
    found = kept(tmp_path / "tokens", "0123", checked=checked)
    assert found is not None
    for name in ("ids", "learnt", "offsets", "images", "conversation"):
        before, after = getattr(read.tokens, name), getattr(found.tokens, name)
        assert before.dtype == after.dtype
        assert np.array_equal(before, after)
        assert not after.flags.writeable
    assert [r.place for r in found.records] == [r.place for r in read.records]
    assert [r.images for r in found.records] == [r.images for r in read.records]
    assert [r.attributes for r in found.records] == [r.attributes for r in read.records]
    assert not list(tmp_path.rglob("*.writing"))


def test_there_may_be_none(tmp_path: Path) -> None:
    assert kept(tmp_path / "tokens", "0123", checked=True) is None


def test_every_flipped_bit_is_noticed(read: DataRead, tmp_path: Path) -> None:
    keep(tmp_path, read)
    for file in sorted((tmp_path / "0123").iterdir()):
        whole = file.read_bytes()
        for place in (0, len(whole) - 2):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            found = kept(tmp_path, "0123", checked=True)
            assert found is None or file.name == "complete.json", f"{file.name} at {place}"
        file.write_bytes(whole)
    assert kept(tmp_path, "0123", checked=True) is not None


@pytest.mark.parametrize("checked", [True, False])
def test_short_and_absent_files_are_noticed(read: DataRead, tmp_path: Path, checked: bool) -> None:
    keep(tmp_path, read)
    for file in sorted((tmp_path / "0123").iterdir()):
        whole = file.read_bytes()
        file.write_bytes(whole[:-1])
        assert kept(tmp_path, "0123", checked=checked) is None or file.name == "complete.json", file.name
        file.write_bytes(whole[: len(whole) // 2])
        assert kept(tmp_path, "0123", checked=checked) is None, file.name
        file.unlink()
        assert kept(tmp_path, "0123", checked=checked) is None, file.name
        file.write_bytes(whole)


def test_what_a_kill_left_half_written_is_not_used_and_goes(
    read: DataRead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_json", killed)
        with pytest.raises(KilledError):
            keep(tmp_path, read)
    assert kept(tmp_path, "0123", checked=True) is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["0123.writing"]
    keep(tmp_path, read)
    assert kept(tmp_path, "0123", checked=True) is not None
    (tmp_path / "4567.writing").mkdir()
    drop_unfinished(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["0123"]


def test_damaged_data_is_replaced(read: DataRead, tmp_path: Path) -> None:
    keep(tmp_path, read)
    (tmp_path / "0123" / "ids.npy").write_bytes(b"")
    keep(tmp_path, read)
    assert kept(tmp_path, "0123", checked=True) is not None


def test_a_place_that_cannot_be_written_is_told(
    read: DataRead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tokens").write_text("a file")
    with pytest.raises(
        RunFolderError, match=r"the tokens cannot be kept there \(File exists\); free some space"
    ):
        keep(tmp_path / "tokens", read)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(RunFolderError, match="No space left on device"):
        keep(tmp_path, read)
    assert not list(tmp_path.glob("*.writing"))


def test_the_key_is_of_all_that_decides(digits_processor: Any, tmp_path: Path) -> None:
    from tests.dpsl.train.data.test_tokenise import REFUSES_SEVEN, with_template

    file = tmp_path / "a.json"
    file.write_text("[1]")
    tokenizer = with_template(digits_processor)
    identity = Encoder(tokenizer).identity()
    tokenizer("text", truncation=True, max_length=3)
    assert Encoder(tokenizer).identity() == identity, "a call changes nothing"
    source = DataSource(file)
    keys = [content_key([source], identity)]
    assert content_key([DataSource(file)], identity) == keys[0]
    keys.append(content_key([DataSource(file, fraction=0.5)], identity))
    keys.append(content_key([DataSource(file, tmp_path)], identity))
    keys.append(content_key([DataSource(file, attributes={"task": "digit"})], identity))
    keys.append(content_key([source, source], identity))
    keys.append(content_key([source], Encoder(with_template(digits_processor, REFUSES_SEVEN)).identity()))
    keys.append(
        content_key([source], Encoder(with_template(digits_processor, bos_token="<user>")).identity())
    )
    tokenizer.add_tokens(["seven"])
    keys.append(content_key([source], Encoder(tokenizer).identity()))
    file.write_text("[2]")
    keys.append(content_key([source], identity))
    file.unlink()
    keys.append(content_key([source], identity))
    assert len(set(keys)) == len(keys)
