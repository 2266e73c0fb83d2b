"""`lmms_eval.api.instance.Instance`."""

from dataclasses import dataclass, field


@dataclass
class Instance:
    """One request; simple models get `(context, generation_kwargs, doc_to_visual, doc_id, task, split)`."""

    request_type: str
    arguments: tuple
    idx: int
    metadata: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.task_name = self.metadata["task"]

    @property
    def args(self) -> tuple:
        return self.arguments
