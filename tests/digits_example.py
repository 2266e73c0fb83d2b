"""Runs the digits example's script on a few scans."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PREPARE = Path(__file__).parents[1] / "examples" / "digits" / "prepare.py"
SCANS = 40


def prepare_digits(output: Path, **environment: str) -> str:
    """Run the example's script on forty scans; what it printed."""
    command = [sys.executable, str(PREPARE), "--output", str(output), "--scans", str(SCANS)]
    finished = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout
