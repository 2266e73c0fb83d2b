"""`lmms_eval.api.model.lmms`."""

import abc


class lmms(abc.ABC):  # noqa: N801  (its name)
    """What a model must offer."""

    is_simple = True

    def __init__(self) -> None:
        self._rank, self._world_size = 0, 1
        self.task_dict: dict[str, object] = {}

    @abc.abstractmethod
    def loglikelihood(self, requests: list) -> list: ...

    @abc.abstractmethod
    def generate_until(self, requests: list) -> list: ...

    @abc.abstractmethod
    def generate_until_multi_round(self, requests: list) -> list: ...

    def clean(self) -> None:
        """Let go of the modules."""
        for name in [name for name, value in vars(self).items() if hasattr(value, "parameters")]:
            delattr(self, name)
