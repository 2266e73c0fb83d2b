"""The ready-made priors of specs/, wherever they are installed."""

from __future__ import annotations

from pathlib import Path

import priorlang


def spec_folder() -> Path:
    """The folder of ready-made priors: inside the package, or beside it in a source tree."""
    package = Path(priorlang.__file__).parent
    inside = package / "specs"
    return inside if inside.is_dir() else package.parent / "specs"


def spec_names() -> list[str]:
    """The names of the ready-made priors: `modality`, `table-10/setting-I`."""
    folder = spec_folder()
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.prior"))


def spec_text(name: str) -> str:
    """The text of a ready-made prior. `name` is one of `spec_names`."""
    return (spec_folder() / f"{name}.prior").read_text(encoding="utf-8")
