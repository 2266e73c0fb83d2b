"""Run examples one after another in this process, since importing the engine takes longer than their few steps.

Usage: run_many.py EXAMPLE,OPTION,… EXAMPLE,OPTION,…; what a launcher adds is handed to each.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def main() -> None:
    """Each as if it were started by itself."""
    wanted = [argument.split(",") for argument in sys.argv[1:] if "," in argument]
    of_the_launcher = [argument for argument in sys.argv[1:] if "," not in argument]
    known = set(sys.modules)
    for example, *options in wanted:
        script = EXAMPLES / example / "train.py"
        sys.argv = [str(script), *of_the_launcher, *options]
        sys.path.insert(0, str(script.parent))
        if int(os.environ.get("RANK", "0")) == 0:
            print(f"== {example}", flush=True)
        runpy.run_path(str(script), run_name="__main__")
        sys.path.remove(str(script.parent))
        for name in set(sys.modules) - known:
            if getattr(sys.modules[name], "__file__", None) in map(str, script.parent.glob("*.py")):
                del sys.modules[name]
        _forget()


def _forget() -> None:
    """Accelerate and transformers keep one state for a whole process."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)


if __name__ == "__main__":
    main()
