"""The types of a grid file."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from priorlang.training.strict import Strict

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Better = Literal["higher", "lower"]

_HIGHER = ("accuracy", "exact_match")
_LOWER = ("loss", "load_cov", "ks")


class Metric(Strict):
    """One number of a finished cell."""

    metric: str
    """A key of metrics.jsonl, as `eval_accuracy`, or one of `routing.load_cov`, `routing.ks`, `routing.spread`, which are
    measured on held-out tokens, or on tokens trained on where the stage has no `eval_data`; `routing.load_cov.3` is that of decoder layer 3."""
    stage: str | None = None
    """The stage at whose end it is read; by default the last."""
    label: str | None = None
    """What the table calls it."""
    paired: bool = True
    """Whether the table compares it with the reference, seed by seed."""
    better: Better | None = None
    """Which way wins count; by default `higher` for accuracies, `lower` for losses, CoV and KS."""

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        stage, slash, metric = given.rpartition("/")
        return {"metric": metric, "stage": stage} if slash else {"metric": metric}

    @property
    def name(self) -> str:
        """What results.json calls it."""
        return f"{self.stage}/{self.metric}" if self.stage else self.metric

    @property
    def title(self) -> str:
        """What the table calls it."""
        return self.label or self.name

    @property
    def wins(self) -> Better | None:
        """Which way is better, if one is."""
        if self.better is not None:
            return self.better
        parts = self.metric.removeprefix("eval_").split(".")
        if any(part.endswith(_HIGHER) for part in parts):
            return "higher"
        return "lower" if any(part.endswith(_LOWER) for part in parts) else None


class Variant(Strict):
    """What one method changes in the training file."""

    set: dict[str, Any] = Field(default_factory=dict)
    """Dotted paths into the training file and their values, as for `--set`."""
    insert_after: dict[str, tuple[dict[str, Any], ...]] = Field(default_factory=dict)
    """Stages that this variant trains beside the file's, by the stage they follow, as the branches of Branch-Train-MiX."""
    prior: Path | None = None
    """Another prior file, relative to the grid file."""
    parameters: dict[str, int | float] = Field(default_factory=dict)
    """Declared parameters of the prior, and their values."""
    search: dict[str, tuple[Any, ...]] | Literal["none"] | None = None
    """The method's own parameter and the values to choose from, as `{upcycle.noise: [0.01, 0.1]}`; `none` where it has none."""
    about: str | None = None
    """A remark for the table."""


class Search(Strict):
    """How each method's own parameter is chosen: the same number of settings for every method."""

    metric: Metric
    """What the choice is made by; its mean over the seeds of the search."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    """Other seeds than those that are reported."""
    settings: Annotated[int, Field(ge=2)]
    """How many values each method tries."""
    set: dict[str, Any] = Field(default_factory=dict)
    """What the training file is changed to while searching, as other held-out data."""


class GridPlan(Strict):
    """A whole grid file, with absolute paths."""

    base: Path
    """The training file."""
    output_dir: Path
    """Where cells and tables go."""
    shared_dir: Path | None = None
    """Where stages that several cells share are trained; by default `shared` in `output_dir`. Grids may have one in common."""
    set: dict[str, Any] = Field(default_factory=dict)
    """What every cell changes in the training file."""
    through: str | None = None
    """The last stage that is trained; by default the training file's last."""
    vary: Annotated[tuple[dict[str, Variant], ...], Field(min_length=1)]
    """Named variants; or a list of such mappings, whose entries are combined each with each."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0, 1, 2)
    """Each is one run of every variant; differences are taken seed by seed."""
    seed_places: tuple[str, ...] | None = None
    """Where a seed is written in the training file; by default everywhere where it has one."""
    reference: str | None = None
    """The variant that all others are compared with; by default the first."""
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)] = (Metric(metric="eval_accuracy"),)
    """The columns of the table: `eval_accuracy`, or `warmup/eval_accuracy` at the end of another stage than the last."""
    search: Search | None = None
    """How each variant's setting is chosen before anything is reported; without it all take what the file says."""

    @field_validator("vary", mode="before")
    @classmethod
    def _axes(cls, given: Any) -> Any:
        """One axis needs no list, and `dense:` with nothing after it changes nothing."""
        axes = [given] if isinstance(given, dict) else given
        if not isinstance(axes, list):
            return given
        return [
            {name: {} if variant is None else variant for name, variant in axis.items()}
            if isinstance(axis, dict)
            else axis
            for axis in axes
        ]

    @field_validator("metrics", mode="before")
    @classmethod
    def _one_metric_is_a_list(cls, given: Any) -> Any:
        return [given] if isinstance(given, str | dict) else given

    @property
    def variants(self) -> dict[str, Combined]:
        """Every variant by its name: crossed ones are called `a+b`."""
        found = {}
        for chosen in product(*(axis.items() for axis in self.vary)):
            names = tuple(name for name, _ in chosen)
            found["+".join(names)] = Combined(names, tuple(variant for _, variant in chosen))
        return found

    @property
    def shared(self) -> Path:
        """Where shared stages are trained."""
        return self.shared_dir or self.output_dir / "shared"

    @property
    def reference_name(self) -> str:
        """The variant that the others are compared with."""
        return self.reference or next(iter(self.variants))


class Combined(NamedTuple):
    """One entry of each axis of `vary`, in its order."""

    names: tuple[str, ...]
    parts: tuple[Variant, ...]

    @property
    def set(self) -> dict[str, Any]:
        """What all of them set."""
        return {path: value for part in self.parts for path, value in part.set.items()}

    @property
    def insert_after(self) -> dict[str, tuple[dict[str, Any], ...]]:
        """The stages that follow others."""
        return {name: stages for part in self.parts for name, stages in part.insert_after.items()}

    @property
    def parameters(self) -> dict[str, int | float]:
        """The parameters of the prior."""
        return {name: value for part in self.parts for name, value in part.parameters.items()}

    @property
    def prior(self) -> Path | None:
        """The prior file, if one of them names one."""
        return next((part.prior for part in reversed(self.parts) if part.prior is not None), None)

    @property
    def search(self) -> tuple[str, tuple[Any, ...]] | None:
        """The parameter that is searched and its values."""
        for part in self.parts:
            if isinstance(part.search, dict):
                for path, values in part.search.items():
                    return path, values
        return None

    @property
    def about(self) -> str:
        """The remarks."""
        return "; ".join(part.about for part in self.parts if part.about)
