"""The JSON Schema of a training file, from the types that read it.

The types hold a resolved plan, in which every stage is complete. A file has the run's own keys and the
defaults of all stages on top, and stages that override them; and where the types turn one value into a
list or a path into what it names, the file may have either.
"""

from __future__ import annotations

import ast
import inspect
import textwrap

from pydantic import BaseModel

from priorlang.schema import DIALECT, Schema
from priorlang.training.evaluation import EvaluationPlan
from priorlang.training.model_plan import ComposedPlan, ModelPlan, PartConfigs
from priorlang.training.plan import ONE_OR_MANY, DataSource, ExpectedRecords, StagePlan, TrainingPlan
from priorlang.training.regularizers import REGULARIZERS
from priorlang.training.strict import Strict
from priorlang.training.upcycle import UpcyclePlan

_PARTS: tuple[type[BaseModel], ...] = (
    ModelPlan, ComposedPlan, PartConfigs, UpcyclePlan, EvaluationPlan, *REGULARIZERS.values(), ExpectedRecords, DataSource, StagePlan,
)  # fmt: skip
_MEMBER: Schema = {"type": ["string", "integer"], "description": "A member of this attribute of the prior."}


def training_schema() -> Schema:
    """The schema of a whole file."""
    run = described(TrainingPlan, TrainingPlan.model_json_schema())
    stage = {
        key: _as_written(key, schema)
        for key, schema in described(StagePlan, StagePlan.model_json_schema()).items()
    }
    stages = {
        "description": "The stages, in order; each may override any default above. Without it there is one.",
        "type": "array",
        "items": {"$ref": "#/$defs/stage"},
        "minItems": 1,
    }
    shared = {key: schema for key, schema in stage.items() if key != "name"}
    return {
        "$schema": DIALECT,
        "title": "A priorlang training file",
        "description": "What `priorlang train` trains: the keys above `stages` hold for every stage.",
        "type": "object",
        "properties": {**run, "stages": stages, **shared},
        "additionalProperties": False,
        "required": ["output_dir"],
        "anyOf": [{"required": ["model_name_or_path"]}, {"required": ["model"]}],
        "$defs": {**_definitions(), "stage": _stage(stage["name"], shared)},
    }


def _stage(name: Schema, shared: dict[str, Schema]) -> Schema:
    properties = {"name": name, **{key: {"$ref": f"#/properties/{key}"} for key in shared}}
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "required": ["name"],
    }


def _as_written(key: str, schema: Schema) -> Schema:
    """A key as a file may have it: one value where the plan has a list, a path where it has what it names."""
    about = {"description": schema["description"], **_default_of(key)}
    if key in ONE_OR_MANY:
        one = schema["items"]
        many = {name: value for name, value in schema.items() if name not in {"description", "default"}}
        return {**about, "anyOf": [many, one, {"const": "none"}, {"type": "null"}]}
    if key == "deepspeed":
        return {**about, "anyOf": [{"type": "object"}, {"type": "string"}]}
    plain = {name: value for name, value in schema.items() if name != "default"}
    return {**plain, **_default_of(key)}


def _default_of(key: str) -> Schema:
    field = StagePlan.model_fields[key]
    default = field.get_default(call_default_factory=True)
    if default is None or default == ():
        return {}
    return {"default": list(default) if isinstance(default, tuple) else default}


def _definitions() -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    for part in _PARTS[:-1]:
        schema = part.model_json_schema()
        schema.pop("$defs", None)
        found[part.__name__] = {**schema, "properties": described(part, schema)}
    for part in REGULARIZERS.values():
        found[part.__name__]["required"] = ["type", *found[part.__name__].get("required", [])]
    # Any further key of a data source is an attribute of the prior.
    found["DataSource"]["additionalProperties"] = _MEMBER
    found["DataSource"]["properties"]["attributes"]["additionalProperties"] = _MEMBER
    return found


def described(part: type[BaseModel], schema: Schema) -> dict[str, Schema]:
    """The properties of a type, each with the docstring below its field."""
    sentences = {**_DESCRIPTIONS, **_docstrings(part)}
    properties: dict[str, Schema] = {}
    for key, found in schema["properties"].items():
        plain = {name: value for name, value in found.items() if name not in {"title", "format"}}
        sentence = sentences.get(key, f"`{key}` of transformers' TrainingArguments.")
        properties[key] = {"description": sentence, **plain}
    return properties


def _docstrings(part: type[BaseModel]) -> dict[str, str]:
    """The texts that stand below the fields of a class and of those it inherits from."""
    inherited = [base for base in part.__mro__[1:] if issubclass(base, Strict) and base is not Strict]
    found: dict[str, str] = {}
    for owner in (*reversed(inherited), part):
        found |= _own_docstrings(owner)
    return found


def _own_docstrings(part: type[BaseModel]) -> dict[str, str]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(part))).body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        text = _text_of(below)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and text:
            found[field.target.id] = inspect.cleandoc(text)
    return found


def _text_of(statement: ast.stmt) -> str | None:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None


_DESCRIPTIONS = {
    "model_name_or_path": "A folder or hub name of the model to start from.",
    "model": "A model from scratch or from parts, in place of `model_name_or_path`.",
    "config": "The transformers config of the model, relative to this file.",
    "output_dir": "Where the run goes, relative to this file.",
    "name": "What this is called in reports and folders.",
    "prior": "The prior file that shapes the routers, relative to this file.",
    "upcycle": "How dense feed-forward layers become experts.",
    "regularizers": "Other losses on the routers, beside the prior's.",
    "data": "What the stage trains on.",
    "eval_data": "What the stage is evaluated on.",
    "path": "A JSON list of records, relative to this file.",
    "objective": "What is learnt: text, or the labels of images.",
    "max_length": "Tokens of a record; what is longer is cut.",
    "target": "The target of the empirical CDF: j/B, (j-1/2)/B or (j-1)/(B-1).",
    "ranks": "How the empirical CDF is found: by sorting, or by a histogram that adds up over processes.",
    "scope": "Whose tokens form a population: those of the global batch, or of a micro-batch.",
    "min_population": "Populations with fewer tokens are left out.",
    "router_learning_rate": "The learning rate of the routers; that of everything else without it.",
    "deepspeed": "DeepSpeed's own configuration, inline or the path of its JSON file.",
    "method": "The way of upcycling.",
    "experts": "The number of experts in each upcycled layer.",
    "top_k": "How many experts a token visits.",
    "granularity": "Into how many parts each expert is cut.",
    "shared_expert": "Whether the dense layer stays as an expert that every token visits.",
    "layers": "The decoder layers it is about.",
    "seed": "The seed of what is drawn at random.",
    "type": "The kind of loss.",
    "tasks": "The harness's own names of tasks.",
    "batch_size": "Samples at once.",
    "coefficient": "What the loss is multiplied by.",
}
"""For fields whose docstring is elsewhere."""
