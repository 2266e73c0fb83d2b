"""The `upcycle:` block of a training file, and what its defaults depend on."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from priorlang.diagnostics.suggest import closest
from priorlang.training.strict import NonNegativeFloat, PositiveFloat, PositiveInt, Strict

SPARSE_NOISE = 0.01
"""Standard deviation of the noise on sparse copies (appendix C.2); the other methods bring their own variety."""
ROUTER_STD = 0.02
MANY_EXPERTS = 8
"""Above this many experts half of an expert is too much to drop (appendix C.4: .5 for 4 experts, .2 for 16)."""

NamedLayers = Literal["all", "every-other", "first-half"]
LAYERS: tuple[str, ...] = get_args(NamedLayers)


class UpcyclePlan(Strict):
    """How dense feed-forward layers become experts; see `dpsl.upcycle`."""

    method: Literal["sparse", "drop", "btx"] = "sparse"
    experts: Annotated[int, Field(ge=2)] = 4
    top_k: PositiveInt = 2
    granularity: PositiveInt = 1
    """Parts that each dense FFN is cut into: d_ff / d_expert."""
    shared_expert: bool = True
    noise: NonNegativeFloat | None = None
    """Standard deviation of the noise on each expert's copy; by default 0.01 for sparse, 0 for drop and btx."""
    scale: Literal["preserve", "he", "he-down"] | None = None
    """None: the paper's unnormalised sum; `preserve` keeps the dense model's function."""
    layers: NamedLayers | tuple[Annotated[int, Field(ge=0)], ...] = "all"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    renormalize: bool = False
    """Whether the gates of the chosen experts are divided by their sum."""
    drop_ratio: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of each expert's width that is drawn anew; by default 0.5 up to 8 experts, 0.2 above."""
    drop_indices: Literal["shared", "per-matrix"] = "shared"
    router: Literal["normal", "zeros", "virtual-group", "copied"] | None = None
    """How routers begin; by default `copied` where `router_from` is given, `virtual-group` for granular experts, else `normal`."""
    router_from: str | None = None
    """A checkpoint folder with experts whose routers' weights are copied, layer by layer."""
    router_std: PositiveFloat = ROUTER_STD
    branches: tuple[str, ...] = ()
    """For btx: the dense models that the experts come from: names of earlier stages, or folders."""

    @field_validator("layers", mode="before")
    @classmethod
    def _known_name(cls, given: Any) -> Any:
        if isinstance(given, str) and given not in LAYERS:
            near = closest(given, LAYERS)
            asked = f" (did you mean `{near}`?)" if near else ""
            raise PydanticCustomError(
                "invalid-value",
                "should be {names} or a list of numbers{asked}",
                {"names": ", ".join(LAYERS), "asked": asked},
            )
        return given

    @field_validator("branches", mode="before")
    @classmethod
    def _one_is_a_list(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given


def default_noise(method: str) -> float:
    """The noise of a method that is given none."""
    return SPARSE_NOISE if method == "sparse" else 0.0


def default_drop_ratio(experts: int) -> float:
    """The paper's ratios (appendix C.4)."""
    return 0.5 if experts <= MANY_EXPERTS else 0.2


def default_router(granularity: int, router_from: str | None) -> str:
    """Granular experts begin as whole FFNs, which only a router that chooses whole groups keeps."""
    if router_from is not None:
        return "copied"
    return "normal" if granularity == 1 else "virtual-group"
