"""`lmms_eval.tasks.TaskManager`, with the tasks of a folder in JSON in place of YAML."""

import json
from pathlib import Path

BUILT_IN = {"mme": [], "gqa": []}


class TaskManager:
    """Knows tasks by their names."""

    def __init__(
        self,
        verbosity: str = "INFO",
        include_path: str | list | None = None,
        include_defaults: bool = True,
        model_name: str | None = None,
    ) -> None:
        files = sorted(Path(str(include_path)).glob("*.json")) if include_path is not None else []
        self.tasks = (BUILT_IN if include_defaults else {}) | {
            file.stem: json.loads(file.read_text()) for file in files
        }

    @property
    def all_tasks(self) -> list[str]:
        return sorted(self.tasks)
