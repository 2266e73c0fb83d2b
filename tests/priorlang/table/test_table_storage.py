"""Tables on disk: the same bytes everywhere, and no wrong byte gets through."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from prior_programs import FILES, HEAD, prior_of

from priorlang.diagnostics.finding import PriorError
from priorlang.table.prior_table import PriorTable

TEXT = HEAD + "rule a: for task reading in layers 3..5 prefer 0..3 by 0.5\nrule b: in layers 23 unshaped\n"


@pytest.fixture(scope="module")
def table() -> PriorTable:
    return prior_of(TEXT + "schedule { 0%: 0, 10%: 1 }\n").table


@pytest.fixture
def stored(table: PriorTable, tmp_path: Path) -> Path:
    table.save(tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors"


def test_what_is_read_is_what_was_written(table: PriorTable, stored: Path) -> None:
    read = PriorTable.load(stored)
    assert read.header == table.header
    for name in ("layer", "row", "population", "alpha", "weight", "pair", "marginal", "window"):
        np.testing.assert_array_equal(getattr(read, name), getattr(table, name))
    again = stored.with_name("b.safetensors")
    read.save(again)
    assert again.read_bytes() == stored.read_bytes()


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    source = FILES / "language" / "c-task.prior"
    written = []
    for seed in ("1", "2"):
        target = tmp_path / f"{seed}.safetensors"
        code = "import sys, priorlang; priorlang.compile(priorlang.load(sys.argv[1])).save(sys.argv[2])"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, source, target], check=True, env=environment)
        written.append(target.read_bytes())
    assert written[0] == written[1]


def test_the_place_of_the_source_is_no_part_of_a_table(tmp_path: Path) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.prior").write_text(TEXT)
    first, second = (prior_of(TEXT, str(tmp_path / name / "a.prior")).table for name in ("here", "there"))
    first.save(tmp_path / "1.safetensors")
    second.save(tmp_path / "2.safetensors")
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()


def test_any_wrong_byte_is_refused(stored: Path) -> None:
    raw = stored.read_bytes()
    header = 8 + int.from_bytes(raw[:8], "little")
    places = {*range(16), *range(8, header, max(1, header // 120)), *range(header, len(raw), len(raw) // 120)}
    assert len(places) > 200
    damaged = stored.with_name("damaged.safetensors")
    for place in sorted(places):
        damaged.write_bytes(raw[:place] + bytes([raw[place] ^ 0x10]) + raw[place + 1 :])
        assert refused(damaged) == "invalid-table", place


@pytest.mark.parametrize("part", [0, 1, 7, 8, 9, 200, -1000, -1])
def test_a_part_of_a_table_is_refused(stored: Path, part: int) -> None:
    stored.write_bytes(stored.read_bytes()[:part])
    assert refused(stored) == "invalid-table"


def test_more_than_a_table_is_refused(stored: Path) -> None:
    stored.write_bytes(stored.read_bytes() + b"\0")
    assert refused(stored) == "invalid-table"


@pytest.mark.parametrize(
    "header",
    [
        b"{}",
        b"[]",
        b"[" * 100_000,
        b'"text"',
        json.dumps({"__metadata__": {"priorlang": "[]"}}).encode(),
        json.dumps({"__metadata__": {"priorlang": "[" * 100_000}}).encode(),
        json.dumps({"__metadata__": {"priorlang": 3}}).encode(),
        json.dumps({"__metadata__": {"priorlang": '{"format": "priorlang-table-1", "table": 3}'}}).encode(),
        json.dumps({"__metadata__": {"priorlang": '{"format": "priorlang-table-9"}'}}).encode(),
    ],
)
def test_other_safetensors_are_refused(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert refused(path) == "invalid-table"


def test_what_cannot_be_read_or_written_is_refused(table: PriorTable, tmp_path: Path) -> None:
    assert refused(tmp_path / "none.safetensors") == "missing-file"
    assert refused(tmp_path) == "unreadable-file"
    for target in (tmp_path / "no" / "folder.safetensors", tmp_path):
        with pytest.raises(PriorError) as error:
            table.save(target)
        assert [finding.name for finding in error.value.findings] == ["unwritable-file"]
    assert not list(tmp_path.iterdir())


def refused(path: Path) -> str:
    with pytest.raises(PriorError) as error:
        PriorTable.load(path)
    (finding,) = error.value.findings
    assert str(path) in finding.message
    return finding.name


def test_look_ups_name_what_is_wrong(table: PriorTable) -> None:
    with pytest.raises(KeyError, match="layer 24 does not route"):
        table.alpha_of(layer=24, modality="vision", task="ocr")
    with pytest.raises(KeyError, match="no attribute 'colour'"):
        table.class_index(colour="red")
    with pytest.raises(KeyError, match="attribute modality has no member None"):
        table.alpha_of(layer=0, task="ocr")
    with pytest.raises(KeyError, match="attribute modality has no member 'sound'"):
        table.alpha_of(layer=0, modality="sound")
    # `task` has `unknown`, which stands for what is absent and for what is not listed.
    unknown = table.class_index(modality="vision", task="unknown")
    assert table.class_index(modality="vision") == table.class_index(modality="vision", task="?") == unknown


def test_an_attribute_may_have_any_name_but_layer() -> None:
    table = prior_of(HEAD + "attribute self { x, y }\nrule a: for self y prefer 0 by 1\n").table
    assert table.class_members(table.class_index(modality="vision", task="ocr", self="y"))["self"] == "y"
    alpha = table.alpha_of(layer=0, modality="vision", task="ocr", self="y")
    assert alpha is not None
    assert alpha[0] == 1.75
