"""The types of a training file. Every value is resolved: stages hold all that they train with."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from priorlang.training.evaluation import EvaluationPlan
from priorlang.training.model_plan import AnyModelPlan, ComposedPlan, ModelPlan
from priorlang.training.regularizers import RegularizerPlan
from priorlang.training.strict import (
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Strict,
)
from priorlang.training.upcycle import UpcyclePlan

ZERO_2_OFFLOAD: dict[str, Any] = {
    "zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu", "pin_memory": True}}
}
"""The paper's choice, and the default. Without an accelerator there is nothing to offload from, and training drops it."""
ONE_OR_MANY = ("train", "report_to", "regularizers", "data", "eval_data", "evaluate")
"""Keys of a stage whose list of one entry may be written as that entry alone."""


class ExpectedRecords(Strict):
    """What a data file holds, by the word of who publishes it: `--dry-run` counts with it where the file is not there."""

    records: PositiveInt
    """Records of the whole file."""
    images: Annotated[int, Field(ge=0)] | None = None
    """Images of all records; without it, one for each record."""
    text_tokens: PositiveFloat | None = None
    """Text tokens of a record, on average; without it, they are not counted."""


class DataSource(Strict):
    """One file of records. Other keys than those below are the source's token attributes."""

    path: Path
    images: Path | None = None
    """The folder that the records' image paths start from; by default the folder of `path`."""
    name: str | None = None
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the records that is used: always the same ones, drawn once, in the order of the file."""
    expected: ExpectedRecords | None = None
    """What the file holds, for a `--dry-run` where it is not there."""
    attributes: dict[str, str] = Field(default_factory=dict)
    """Attribute → member, for the records that say nothing themselves: `task: vqa`."""

    @model_validator(mode="before")
    @classmethod
    def _gather_attributes(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        own = {key: value for key, value in given.items() if key in cls.model_fields and key != "attributes"}
        extra = {key: value for key, value in given.items() if key not in cls.model_fields}
        labels = given.get("attributes") or {}
        return {**own, "attributes": {**labels, **extra} if isinstance(labels, dict) else labels}

    @field_validator("attributes", mode="before")
    @classmethod
    def _name_members(cls, given: Any) -> Any:
        if isinstance(given, dict):
            return {key: str(value) if type(value) is int else value for key, value in given.items()}
        return given

    @property
    def label(self) -> str:
        """What reports call this source."""
        return self.name or self.path.stem


class StagePlan(Strict):
    """One stage, with everything it trains with. Defaults are those of the paper (appendix C.4)."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "train"
    train: tuple[str, ...] = ("all",)
    """Parts that learn: `all`, `projector`, `language_model`, `vision_tower`, `all-but-vision_tower`, …"""
    start_from: str | None = None
    """The stage whose model this one begins from, `initial` for the file's own; the stage before without it."""
    moe: bool = False
    """Whether the feed-forward layers are experts by now; the first such stage upcycles."""
    shape: bool = False
    """Whether the prior shapes the routers."""
    objective: Literal["language", "image-labels"] = "language"

    prior: Path | None = None
    upcycle: UpcyclePlan | None = None
    regularizers: tuple[RegularizerPlan, ...] = ()
    data: tuple[DataSource, ...] = ()
    eval_data: tuple[DataSource, ...] = ()
    evaluate: tuple[EvaluationPlan, ...] = ()
    """Benchmarks that the stage's model takes when the run is trained."""
    max_length: PositiveInt = 2048

    target: Literal["eq4", "mid", "ustat"] = "eq4"
    ranks: Literal["sort", "histogram"] = "histogram"
    scope: Literal["global", "micro"] = "global"
    """Tokens of one empirical CDF: of all ranks and micro-batches of a step, or of one forward pass."""
    cdf_steps: PositiveInt = 1
    """Optimizer steps that the CDF of the global scope remembers, this one included."""
    look_ahead: bool = False
    """Count all micro-batches of a step before the first is trained on: exact, for one more forward pass."""
    min_population: PositiveInt = 1

    router_learning_rate: PositiveFloat | None = None
    deepspeed: dict[str, Any] = Field(default_factory=lambda: copy.deepcopy(ZERO_2_OFFLOAD))

    learning_rate: NonNegativeFloat = 2e-5
    max_steps: int = -1
    """Optimizer steps; -1 leaves it to `num_train_epochs`."""
    num_train_epochs: PositiveFloat = 1.0
    warmup_ratio: Fraction = 0.03
    lr_scheduler_type: str = "cosine"
    weight_decay: NonNegativeFloat = 0.0
    adam_beta1: Fraction = 0.9
    adam_beta2: Fraction = 0.999
    max_grad_norm: NonNegativeFloat = 1.0
    optim: str = "adamw_torch"
    per_device_train_batch_size: PositiveInt = 8
    per_device_eval_batch_size: PositiveInt = 8
    gradient_accumulation_steps: PositiveInt = 1
    gradient_checkpointing: bool = False
    bf16: bool = False
    fp16: bool = False
    logging_steps: PositiveInt = 10
    save_steps: PositiveInt = 500
    save_total_limit: PositiveInt = 1
    eval_steps: PositiveInt | None = None
    """Evaluate every so many steps as well; a stage always ends with an evaluation."""
    seed: int = 42
    data_seed: int | None = None
    dataloader_num_workers: Annotated[int, Field(ge=0)] = 0
    report_to: tuple[str, ...] = ()
    training_arguments: dict[str, Any] = Field(default_factory=dict)
    """Any other field of `transformers.TrainingArguments`, passed through."""

    @field_validator(*ONE_OR_MANY, mode="before")
    @classmethod
    def _one_is_a_list(cls, given: Any) -> Any:
        if given is None or given == "none":
            return ()
        return [given] if isinstance(given, str | dict) else given

    @model_validator(mode="before")
    @classmethod
    def _shaping_means_experts(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("shape") is True and "moe" not in given:
            return {**given, "moe": True}
        return given

    @field_validator("deepspeed", mode="before")
    @classmethod
    def _read_deepspeed_file(cls, given: Any) -> Any:
        """A path is read here, so that a resolved plan stands alone."""
        if not isinstance(given, str):
            return given
        try:
            return json.loads(Path(given).read_text(encoding="utf-8"))
        except OSError:
            raise PydanticCustomError("missing-file", "names a file that is not there") from None
        except ValueError:
            raise PydanticCustomError("invalid-value", "names a file that is no JSON") from None

    @field_validator("deepspeed")
    @classmethod
    def _zero_stage(cls, given: dict[str, Any]) -> dict[str, Any]:
        zero = given.get("zero_optimization", {})
        if not isinstance(zero, dict) or zero.get("stage", 0) not in (0, 1, 2, 3):
            raise PydanticCustomError(
                "out-of-range", "states no stage of ZeRO: zero_optimization.stage is 0, 1, 2 or 3"
            )
        return given

    @property
    def cdf_window(self) -> int:
        """Forward passes of one rank whose tokens make up one empirical CDF."""
        return self.gradient_accumulation_steps * self.cdf_steps if self.scope == "global" else 1

    @field_validator("max_steps")
    @classmethod
    def _steps(cls, steps: int) -> int:
        if steps != -1 and steps < 1:
            raise ValueError("a number of steps above 0, or -1 to count epochs")
        return steps


class TrainingPlan(Strict):
    """A whole training file, resolved: absolute paths, every stage complete."""

    model_name_or_path: str | None = None
    model: AnyModelPlan | None = None
    processor: str | None = None
    """Folder or hub name of the processor; by default where the model comes from."""
    output_dir: Path
    stages: tuple[StagePlan, ...]

    @property
    def processor_source(self) -> str:
        """Where the processor is loaded from."""
        if self.processor is not None:
            return self.processor
        if self.model_name_or_path is not None:
            return self.model_name_or_path
        if self.composed is not None:
            return self.composed.language_model
        assert self.scratch is not None
        return str(self.scratch.config.parent)

    @property
    def scratch(self) -> ModelPlan | None:
        """The model from scratch, where the file asks for one."""
        return self.model if isinstance(self.model, ModelPlan) else None

    @property
    def composed(self) -> ComposedPlan | None:
        """The composition, where the file asks for one."""
        return self.model if isinstance(self.model, ComposedPlan) else None

    @property
    def prior(self) -> Path | None:
        """The prior of the run: the first that a stage names."""
        return next((stage.prior for stage in self.stages if stage.prior is not None), None)

    def stage(self, name: str) -> StagePlan:
        """The stage of that name.

        Raises:
            KeyError: there is none.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)


RUN_KEYS = tuple(key for key in TrainingPlan.model_fields if key != "stages")
"""Keys that belong to the whole run and cannot differ between stages."""
