"""The LALR(1) parser of grammar.lark, for each of its start symbols.

Working the parse tables out takes longer than reading a prior, so they are kept in the user's own cache
folder: as JSON, which cannot run code, under a name that changes with the grammar and with Lark.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lark import Lark

START_SYMBOLS = ("start", "fragment", "set", "value", "number", "name", "place", "expectation")


def grammar_text() -> str:
    """The text of the grammar."""
    return files("priorlang.syntax").joinpath("grammar.lark").read_text(encoding="utf-8")


@cache
def parser() -> Lark:
    """The parser; call `.parse(text, start=…)`."""
    grammar = grammar_text()
    stored = cache_file(grammar)
    tables = _read_tables(stored)
    if tables is not None:
        try:
            return _from_tables(tables)
        except Exception:
            # Whatever stands in the file, it is no table of this grammar: work it out again.
            tables = None
    built = build_parser(grammar)
    _write_tables(stored, built)
    return built


def build_parser(grammar: str) -> Lark:
    """The parser, worked out from the grammar."""
    from lark import Lark

    from priorlang.syntax.lexer import PriorLexer

    return Lark(
        grammar,
        parser="lalr",
        lexer=PriorLexer,
        start=list(START_SYMBOLS),
        propagate_positions=True,
        maybe_placeholders=False,
    )


def cache_file(grammar: str) -> Path | None:
    """Where the tables of this grammar are kept; None where there is no home to keep them in."""
    import lark

    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not os.path.isabs(root):
        return None
    key = hashlib.sha256(f"{lark.__version__}\n{START_SYMBOLS}\n{grammar}".encode()).hexdigest()[:24]
    return Path(root, "priorlang", f"grammar-{key}.json")


def _read_tables(file: Path | None) -> dict[str, Any] | None:
    """The stored tables. A file that another user could have written is not read."""
    if file is None:
        return None
    try:
        with file.open("rb") as stream:
            owner = os.fstat(stream.fileno())
            if hasattr(os, "getuid") and (owner.st_uid != os.getuid() or owner.st_mode & 0o022):
                return None
            tables = json.loads(stream.read())
    except (OSError, ValueError):
        return None
    return tables if isinstance(tables, dict) else None


def _from_tables(tables: dict[str, Any]) -> Lark:
    from lark import Lark

    from priorlang.syntax.lexer import PriorLexer

    data = tables["data"]
    data["options"]["lexer"] = PriorLexer
    memo = {int(key): value for key, value in tables["memo"].items()}
    data["parser"]["lexer_conf"]["lexer_type"] = PriorLexer
    table = data["parser"]["parser"]
    # JSON makes texts of numbers that are keys.
    table["tokens"] = {int(token): name for token, name in table["tokens"].items()}
    table["states"] = {
        int(state): {int(token): action for token, action in actions.items()}
        for state, actions in table["states"].items()
    }
    load: Callable[..., Lark] = Lark._load_from_dict
    return load(data, memo)


def _write_tables(file: Path | None, built: Lark) -> None:
    """Keep the tables for the next process. Where that cannot be, the next one works them out again."""
    from lark.grammar import Rule
    from lark.lexer import TerminalDef

    if file is None:
        return
    data, memo = built.memo_serialize([TerminalDef, Rule])
    data["options"]["lexer"] = data["parser"]["lexer_conf"]["lexer_type"] = None
    partial = file.with_suffix(f".{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial.write_text(json.dumps({"data": data, "memo": memo}), encoding="utf-8")
        partial.chmod(0o600)
        partial.replace(file)
    except (OSError, TypeError, ValueError):
        partial.unlink(missing_ok=True)
