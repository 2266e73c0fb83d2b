"""Run folders as finished cells leave them, without training any."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


def finish(run: Path, stages: Mapping[str, Mapping[str, float]]) -> None:
    """A run folder with these metrics at the end of its stages."""
    run.mkdir(parents=True, exist_ok=True)
    rows = [
        {"stage": name, "step": step} | dict(values) for step, (name, values) in enumerate(stages.items())
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
