"""A language server in a process of its own and a real client that talks to it over standard streams."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient

PATIENCE = 20.0
"""Seconds to wait for an answer; a server that needs them hangs."""

T = TypeVar("T")


class Session:
    """A client with its server. Every method waits for what it asks for."""

    def __init__(self, folder: Path, encodings: list[lsp.PositionEncodingKind] | None = None) -> None:
        self.folder = folder
        self.runner = asyncio.Runner()
        self.client = LanguageClient("tests", "1")
        self.diagnostics: dict[str, list[lsp.Diagnostic]] = {}
        self.news = asyncio.Condition()
        self.versions: dict[str, int] = {}

        @self.client.feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        async def published(params: lsp.PublishDiagnosticsParams) -> None:
            async with self.news:
                self.diagnostics[params.uri] = list(params.diagnostics)
                self.news.notify_all()

        self.result = self.wait(self._start(encodings))

    async def _start(self, encodings: list[lsp.PositionEncodingKind] | None) -> lsp.InitializeResult:
        await self.client.start_io(sys.executable, "-m", "priorlang", "lsp", "--stdio")
        general = lsp.GeneralClientCapabilities(position_encodings=encodings)
        folders = [lsp.WorkspaceFolder(self.folder.as_uri(), self.folder.name)]
        rename = lsp.RenameClientCapabilities(prepare_support=True)
        capabilities = lsp.ClientCapabilities(
            general=general, text_document=lsp.TextDocumentClientCapabilities(rename=rename)
        )
        result = await self.client.initialize_async(
            lsp.InitializeParams(capabilities, workspace_folders=folders)
        )
        self.client.initialized(lsp.InitializedParams())
        return result

    def wait(self, asked: Coroutine[Any, Any, T]) -> T:
        """The answer to a request."""
        return self.runner.run(asyncio.wait_for(asked, PATIENCE))

    def ask(self, answer: Any) -> Any:
        """The answer to a request of the client, as `ask(lambda client: client.text_document_hover_async(…))`."""

        async def asked() -> Any:
            return await answer(self.client)

        return self.wait(asked())

    # --- texts -----------------------------------------------------------------------------------

    def uri(self, name: str) -> str:
        """The address of a file of the folder."""
        return (self.folder / name).as_uri()

    def open(self, name: str, text: str, language: str = "prior") -> list[lsp.Diagnostic]:
        """Open a text; what is said about it."""
        return self.after(name, lambda: self.tell_open(name, text, language))

    def tell_open(self, name: str, text: str, language: str = "prior") -> None:
        """Open a text, and wait for nothing."""
        self.versions[self.uri(name)] = 1
        document = lsp.TextDocumentItem(self.uri(name), language, 1, text)
        self.client.text_document_did_open(lsp.DidOpenTextDocumentParams(document))

    def change(self, name: str, text: str, about: str | None = None) -> list[lsp.Diagnostic]:
        """Change a text; what is then said about it, or about another file."""
        uri = self.uri(name)
        self.versions[uri] += 1
        document = lsp.VersionedTextDocumentIdentifier(self.versions[uri], uri)
        params = lsp.DidChangeTextDocumentParams(document, [lsp.TextDocumentContentChangeWholeDocument(text)])
        return self.after(about or name, lambda: self.client.text_document_did_change(params))

    def close(self, name: str) -> None:
        """Close a text."""
        self.client.text_document_did_close(lsp.DidCloseTextDocumentParams(self.identifier(name)))

    def after(self, name: str, tell: Any) -> list[lsp.Diagnostic]:
        """Tell the server something; what it then says about a file."""
        uri = self.uri(name)

        async def told() -> list[lsp.Diagnostic]:
            self.diagnostics.pop(uri, None)
            tell()
            async with self.news:
                await self.news.wait_for(lambda: uri in self.diagnostics)
            return self.diagnostics[uri]

        return self.wait(told())

    def send(self, message: object) -> None:
        """Send any JSON there is, as no client would."""
        body = json.dumps({"jsonrpc": "2.0", **message} if isinstance(message, dict) else message).encode()

        async def sent() -> None:
            assert self.client._server is not None
            assert self.client._server.stdin is not None
            self.client._server.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            await self.client._server.stdin.drain()

        self.wait(sent())

    # --- places ----------------------------------------------------------------------------------

    def identifier(self, name: str) -> lsp.TextDocumentIdentifier:
        """A text, as requests name it."""
        return lsp.TextDocumentIdentifier(self.uri(name))

    def end(self) -> int | None:
        """Shut down in the orderly way; the exit code of the server."""

        async def ended() -> int | None:
            await self.client.shutdown_async(None)
            self.client.exit(None)
            assert self.client._server is not None
            return await self.client._server.wait()

        try:
            return self.wait(ended())
        finally:
            self.runner.close()


def written(text: str, place: lsp.Range) -> str:
    """The stretch of a text that a range of UTF-16 columns names."""
    lines = text.replace("\r\n", "\n").split("\n")

    def offset(position: lsp.Position) -> int:
        units = lines[position.line].encode("utf-16-le")[: position.character * 2]
        return sum(len(line) + 1 for line in lines[: position.line]) + len(units.decode("utf-16-le"))

    return "\n".join(lines)[offset(place.start) : offset(place.end)]


def place_of(text: str, word: str, nth: int = 0, within: int = 1) -> lsp.Position:
    """The place `within` code points into the nth occurrence of a word, in UTF-16 columns."""
    plain = text.replace("\r\n", "\n")
    offset = -1
    for _ in range(nth + 1):
        offset = plain.index(word, offset + 1)
    before = plain[: offset + within]
    line = before.split("\n")[-1]
    return lsp.Position(before.count("\n"), len(line.encode("utf-16-le")) // 2)
