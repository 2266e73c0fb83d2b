"""Bytes that are and are not a source file."""

from __future__ import annotations

from pathlib import Path

import pytest
from prior_programs import HEAD

from priorlang.diagnostics.finding import PriorError
from priorlang.syntax.source import MAXIMUM_BYTES, LineTable, read_source


def refusal(path: Path) -> tuple[str, str]:
    with pytest.raises(PriorError) as error:
        read_source(path)
    (finding,) = error.value.findings
    return finding.name, finding.message


def test_a_byte_order_mark_and_other_line_ends_are_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "a.prior"
    path.write_bytes(b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode())
    assert read_source(path).text == HEAD
    path.write_bytes(HEAD.replace("\n", "\r").encode())
    assert read_source(path).text == HEAD


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.prior"
    path.write_bytes(HEAD.encode() + b"rule caf\xe9")
    with pytest.raises(PriorError) as error:
        read_source(path)
    assert error.value.findings[0].span.start.line == HEAD.count("\n") + 1
    path.write_bytes(b"#" * (MAXIMUM_BYTES + 1))
    assert refusal(path) == ("unreadable-file", f"{path} is larger than 1 MiB; a prior is a small program")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path)[0] == "unreadable-file"
    assert refusal(tmp_path / "none.prior")[0] == "missing-file"
    assert refusal(tmp_path / ("x" * 5000))[0] == "unreadable-file"
    assert refusal(Path("nul\0.prior"))[0] == "unreadable-file"


def test_offsets_become_places() -> None:
    table = LineTable("ab\n\nc")
    places = [(place.line, place.column) for place in map(table.at, range(7))]
    assert places == [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1), (3, 2), (3, 2)]
