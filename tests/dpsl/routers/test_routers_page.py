"""The programs of docs/routers.md run as printed, one after another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "routers.md"


def test_the_page_runs(tmp_path: Path) -> None:
    programs = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(programs) == 4
    (tmp_path / "page.py").write_text("\n".join(programs))
    alone = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:__main__", "page.py"],
        cwd=tmp_path,
        env={**alone, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-4000:]


def test_an_adapter_is_short() -> None:
    adapter = re.search(r"^def find\(model\):\n.*?\n\n\n", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert adapter is not None
    assert len(adapter.group().strip().splitlines()) < 30
