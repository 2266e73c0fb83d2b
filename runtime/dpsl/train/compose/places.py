"""What of a folder or a hub name is on this machine."""

from __future__ import annotations

from pathlib import Path

WEIGHTS = ("*.safetensors", "*.bin", "*.index.json")
TOKENIZER = ("tokenizer.json", "tokenizer.model", "vocab.json")
IMAGE_PROCESSOR = ("preprocessor_config.json", "processor_config.json")


def local_folder(source: str) -> Path | None:
    """The folder itself, or the hub's download of it; None where neither is there."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if Path(source).is_dir():
        return Path(source)
    try:
        found = try_to_load_from_cache(source, "config.json")
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def has_any(folder: Path | None, patterns: tuple[str, ...]) -> bool:
    """Whether a folder holds a file of one of these patterns."""
    return folder is not None and any(True for pattern in patterns for _ in folder.glob(pattern))
