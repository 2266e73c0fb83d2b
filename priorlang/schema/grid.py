"""The JSON Schema of a grid file, from the types that read it."""

from __future__ import annotations

from pydantic import BaseModel

from priorlang.grid.plan import NAME, GridPlan, Metric, Search, Variant
from priorlang.schema import DIALECT, Schema
from priorlang.schema.training import described

_PARTS: tuple[type[BaseModel], ...] = (Metric, Variant, Search)


def grid_schema() -> Schema:
    """The schema of a whole file."""
    properties = described(GridPlan, GridPlan.model_json_schema())
    return {
        "$schema": DIALECT,
        "title": "A priorlang grid file",
        "description": "What `priorlang grid` trains and compares: variants × seeds over a training file.",
        "type": "object",
        "properties": {
            **properties,
            "vary": _vary(properties["vary"]["description"]),
            "metrics": _metrics(properties["metrics"]),
        },
        "additionalProperties": False,
        "required": ["base", "output_dir", "vary"],
        "$defs": {"Number": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Metric"}]}, **_definitions()},
    }


def _vary(description: str) -> Schema:
    axis: Schema = {
        "type": "object",
        "propertyNames": {"pattern": NAME},
        "additionalProperties": {"anyOf": [{"$ref": "#/$defs/Variant"}, {"type": "null"}]},
        "minProperties": 1,
    }
    return {"description": description, "anyOf": [axis, {"type": "array", "items": axis, "minItems": 1}]}


def _metrics(schema: Schema) -> Schema:
    number: Schema = {"$ref": "#/$defs/Number"}
    return {
        "description": schema["description"],
        "anyOf": [number, {"type": "array", "items": number, "minItems": 1}],
    }


def _definitions() -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    for part in _PARTS:
        schema = part.model_json_schema()
        schema.pop("$defs", None)
        found[part.__name__] = {**schema, "properties": described(part, schema)}
    found["Search"]["properties"]["metric"] = {
        "description": found["Search"]["properties"]["metric"]["description"],
        "anyOf": [{"type": "string"}, {"$ref": "#/$defs/Metric"}],
    }
    return found
