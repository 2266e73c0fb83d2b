"""`priorlang lsp`"""

from __future__ import annotations

import logging
import sys

import click

from priorlang.cli.exits import CLEAN, FINDINGS, USAGE
from priorlang.cli.output import remark


@click.command("lsp")
@click.option("--stdio", is_flag=True, hidden=True, help="What editors say to ask for standard streams.")
def command(stdio: bool) -> None:
    """Answer an editor: the Language Server Protocol on standard input and output.

    Exits with 0 after the shutdown that the protocol asks for, with 1 where the editor went without it.
    """
    try:
        from priorlang.editor.server import build_server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"pygls", "lsprotocol"}:
            raise
        click.echo("error: the language server needs pygls; run `pip install 'priorlang[editor]'`", err=True)
        sys.exit(USAGE)
    if sys.stdin.isatty():
        remark("priorlang lsp: waiting for an editor on standard input (docs/editors.md); Ctrl-C ends it")
    _log_in_one_line_each()
    server = build_server()
    server.start_io()
    sys.exit(CLEAN if server.may_exit else FINDINGS)


class _OneLine(logging.Formatter):
    """A message with the kind of its exception, and no traceback: editors keep what a server writes."""

    def format(self, record: logging.LogRecord) -> str:
        kind = record.exc_info[0] if record.exc_info else None
        about = f" ({kind.__name__})" if kind is not None else ""
        return f"priorlang lsp: {record.getMessage()}{about}".replace("\n", " ")[:500]


def _log_in_one_line_each() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
