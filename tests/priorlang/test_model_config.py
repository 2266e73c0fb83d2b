"""--model: what transformers configs say, whatever they call it."""

from __future__ import annotations

from pathlib import Path

import pytest

from priorlang.diagnostics.finding import PriorError
from priorlang.model_config import GivenModel, given_model, read_model
from priorlang.phases import Prior
from priorlang.syntax.source import SourceFile

CONFIGS = {
    "mixtral": ({"num_hidden_layers": 32, "num_local_experts": 8, "num_experts_per_tok": 2}, 32, 8, 2, 32),
    "qwen2-moe": (
        {
            "num_hidden_layers": 24,
            "num_experts": 60,
            "num_experts_per_tok": 4,
            "decoder_sparse_step": 2,
            "mlp_only_layers": [3],
        },
        24,
        60,
        4,
        11,
    ),
    "deepseek-v3": (
        {
            "num_hidden_layers": 61,
            "n_routed_experts": 256,
            "num_experts_per_tok": 8,
            "first_k_dense_replace": 3,
        },
        61,
        256,
        8,
        58,
    ),
    "llama4": (
        {
            "text_config": {
                "num_hidden_layers": 48,
                "num_local_experts": 16,
                "num_experts_per_tok": 1,
                "moe_layers": list(range(1, 48, 2)),
            }
        },
        48,
        16,
        1,
        24,
    ),
    "jamba": (
        {
            "num_hidden_layers": 32,
            "num_experts": 16,
            "num_experts_per_tok": 2,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
        },
        32,
        16,
        2,
        16,
    ),
    "upcycled": (
        {
            "text_config": {"num_hidden_layers": 4},
            "upcycled": {"experts": 4, "top_k": 2, "layers": [1, 3]},
        },
        4,
        4,
        2,
        2,
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_families(name: str) -> None:
    config, layers, experts, top_k, routed = CONFIGS[name]
    found = given_model(config, "config.json")
    assert (found.layers, found.experts, found.top_k) == (layers, experts, top_k)
    assert found.routed is not None
    assert len(found.routed) == routed
    assert max(found.routed) < layers


def test_dense_model_gives_its_layers_alone() -> None:
    assert given_model({"num_hidden_layers": 16}, "x") == GivenModel("x", 16)


def test_jamba_routes_from_its_offset_on() -> None:
    config = CONFIGS["jamba"][0] | {"expert_layer_period": 8, "expert_layer_offset": 3}
    assert given_model(config, "x").routed == (3, 11, 19, 27)


def test_what_a_config_lacks_is_named_with_the_keys_sought() -> None:
    (finding,) = prior("priorlang 1 default base 1 weight 0.01", GivenModel("dense.json", 16)).findings
    assert finding.name == "missing-model"
    assert "dense.json" in finding.message
    assert "num_local_experts" in finding.message
    assert "give --model" not in finding.message


def prior(text: str, model: GivenModel) -> Prior:
    return Prior(SourceFile("a.prior", text), model=model)


def test_model_fills_in_what_the_file_leaves_out() -> None:
    model = GivenModel("x", 6, 4, 2, (1, 3, 5))
    table = prior("priorlang 1 default base 1 weight 0.01 rule a: in layers 3 prefer 0 by 1", model).table
    assert table.layer.tolist() == [1, 3, 5]
    assert table.alpha_of(layer=3) is not None
    assert table.header.experts == 4


def test_contradiction_is_an_error_with_a_fix() -> None:
    findings = prior(
        "priorlang 1 model { experts = 8 } default base 1 weight 0.01", GivenModel("x", 6, 4, 2)
    ).findings
    assert [finding.name for finding in findings] == ["model-mismatch"]
    assert findings[0].fix is not None
    assert findings[0].fix.edits[0].text == "4"


def test_routing_a_dense_layer_is_an_error() -> None:
    findings = prior(
        "priorlang 1 model { routed = 0..5 } default base 1 weight 0.01", GivenModel("x", 6, 4, 2, (1, 3, 5))
    ).findings
    assert [finding.name for finding in findings] == ["model-mismatch"]
    assert "layer 0" in findings[0].message


@pytest.mark.parametrize(
    ("text", "name"), [("[]", "invalid-value"), ("{", "invalid-value"), ("{}", "invalid-value")]
)
def test_bad_configs(tmp_path: Path, text: str, name: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(PriorError) as error:
        read_model(str(file))
    assert error.value.findings[0].name == name


def test_missing_config(tmp_path: Path) -> None:
    with pytest.raises(PriorError) as error:
        read_model(str(tmp_path / "nowhere.json"))
    assert error.value.findings[0].name == "missing-file"
