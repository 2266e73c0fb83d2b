"""`--shares` and `--batch-tokens` of `validate`: what the author knows of the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from priorlang.checks.shares import parse_shares
from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.span import whole_file
from priorlang.phases import Given

if TYPE_CHECKING:
    from priorlang.checks.shares import GivenShares

FILES = (".json", ".yaml", ".yml")
MAXIMUM_BYTES = 16 << 20


def given_evidence(shares: str | None, batch_tokens: float | None) -> Given:
    """What the two options say; shares as text, or as the name of a file of counts.

    Raises:
        PriorError: the text is no shares, or the file cannot be read.
    """
    if shares is None:
        return Given(batch_tokens=batch_tokens)
    if shares.endswith(FILES) and "=" not in shares:
        return Given(_read(Path(shares)), batch_tokens, shares)
    return Given(parse_shares(shares), batch_tokens)


def _read(path: Path) -> GivenShares:
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig")
    except FileNotFoundError:
        raise _refused("missing-file", f"there is no file of counts {path}", path) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise _refused("unreadable-file", f"{path} cannot be read: {reason}", path) from None
    if len(raw) > MAXIMUM_BYTES:
        raise _refused("invalid-shares", f"{path} is larger than {MAXIMUM_BYTES >> 20} MiB", path)
    content = _json(text, path) if path.suffix == ".json" else _yaml(text, path)
    if not isinstance(content, dict | list):
        message = "a file of counts holds {attribute: {member: number}}, or a list of {…, count: number}"
        raise _refused("invalid-shares", message, path)
    return content


def _json(text: str, path: Path) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _refused("invalid-shares", f"the file cannot be read as JSON: {error}", path) from None


def _yaml(text: str, path: Path) -> Any:
    import yaml

    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.BaseLoader)):
            raise ValueError("counts need no aliases")
        # Without resolving scalars: a member may be called `no`, and numbers are read by the checks.
        return _plain(yaml.compose(text, Loader=yaml.BaseLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _refused("invalid-shares", f"the file cannot be read as YAML: {error}", path) from None


def _plain(node: Any) -> Any:
    """A node graph as mappings, lists and texts."""
    if node is None or node.id == "scalar":
        return None if node is None else node.value
    if node.id == "sequence":
        return [_plain(item) for item in node.value]
    return _without_duplicates([(_key(key), _plain(value)) for key, value in node.value])


def _key(node: Any) -> str:
    if node.id != "scalar":
        raise ValueError("a key is a name")
    return str(node.value)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
        raise ValueError(f"`{twice}` stands twice")
    return found


def _refused(name: str, message: str, path: Path) -> PriorError:
    return PriorError([Finding(name, Severity.ERROR, message, whole_file(str(path)))])
