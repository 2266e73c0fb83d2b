"""Which parameters learn."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers
from torch import nn

import dpsl
from dpsl.train.parts import PartsError, parts_of, train_only


@pytest.fixture
def llava(digits_data: Path) -> nn.Module:
    config = transformers.AutoConfig.from_pretrained(str(digits_data / "model"))
    model: nn.Module = transformers.LlavaForConditionalGeneration(config)
    return model


def learning(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_every_parameter_is_in_one_part(llava: nn.Module) -> None:
    parts = parts_of(llava)
    assert set(parts) == {"vision_tower", "projector", "language_model"}
    assert sum(map(len, parts.values())) == len(list(llava.named_parameters()))


def test_the_projector_alone_leaves_the_tied_head_out(llava: nn.Module) -> None:
    train_only(llava, ["projector"])
    assert learning(llava) == parts_of(llava)["projector"]
    assert not llava.get_output_embeddings().weight.requires_grad  # type: ignore[operator, union-attr]


def test_exclusions_come_last(llava: nn.Module) -> None:
    parts = parts_of(llava)
    train_only(llava, ["all-but-vision_tower"])
    assert learning(llava) == parts["projector"] | parts["language_model"]
    train_only(llava, ["all-but-vision_tower", "all-but-projector"])
    assert learning(llava) == parts["language_model"]
    train_only(llava, ["all"])
    assert learning(llava) == frozenset().union(*parts.values())


def test_routers_are_a_part_of_their_own(llava: nn.Module) -> None:
    dpsl.upcycle(llava, experts=4, top_k=2)
    train_only(llava, ["routers"])
    assert {name.rpartition(".mlp.")[2] for name in learning(llava)} == {"router.weight"}
    assert len(learning(llava)) == 4
    train_only(llava, ["language_model", "all-but-routers"])
    assert not any("router" in name for name in learning(llava))


def test_a_part_that_is_not_there(llava: nn.Module) -> None:
    with pytest.raises(PartsError, match="did you mean `projector`"):
        train_only(llava, ["projecter"])
    with pytest.raises(PartsError, match="routers"):
        train_only(llava, ["routers"])
    with pytest.raises(PartsError, match="nothing is left"):
        train_only(llava, ["projector", "all-but-projector"])
