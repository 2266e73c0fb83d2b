"""The JSON Schema of a prior in its YAML form.

Keys are the language's keywords, each with the sentence that the language has for it. YAML reads some
scalars as numbers or booleans that are text to priorlang, so every leaf takes those too.
"""

from __future__ import annotations

from priorlang.editor.glossary import KEYWORD_MEANINGS, SETTING_MEANINGS
from priorlang.schema import DIALECT, Schema

_NUMBER = r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?"
_REFERENCE = r"\$[A-Za-z_][A-Za-z0-9_-]*"


def prior_schema() -> Schema:
    """The schema of a whole file."""
    return {
        "$schema": DIALECT,
        "title": "A priorlang prior",
        "description": "Which routing distribution is wanted for each kind of token in each layer.",
        **_closed(
            {
                "priorlang": {"enum": [1, "1"], "default": 1},
                "import": {"anyOf": [_names("Prior files, relative to this one."), _ref("name")]},
                "model": _closed(
                    {
                        "layers": _ref("number"),
                        "experts": _ref("number"),
                        "top_k": _ref("number"),
                        "routed": _ref("set"),
                    },
                    meanings=SETTING_MEANINGS,
                ),
                "attribute": _open(_ref("attribute")),
                "experts": _open(_ref("set")),
                "layers": _open(_ref("set")),
                "param": {
                    "type": "object",
                    "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_-]*$"},
                    "additionalProperties": _ref("value"),
                },
                "default": _closed({key: value for key, value in _effects().items() if key not in _PUSHES}),
                "rule": _open(_rule()),
                "schedule": {
                    "type": "object",
                    "propertyNames": {"pattern": f"^({_NUMBER}%?|{_REFERENCE})$"},
                    "additionalProperties": _ref("number"),
                },
                "expect": {"type": "array", "items": _ref("expectation")},
                "allow": {"type": "array", "items": _allow()},
            },
            required=["priorlang"],
        ),
        "$defs": _definitions(),
    }


_PUSHES = ("prefer", "avoid")


def _rule() -> Schema:
    return _closed(
        {
            "overrides": {"anyOf": [_names("The rules that are silenced."), _ref("name")]},
            "for": _open(_ref("set")),
            "layers": {"$ref": "#/$defs/set", "description": KEYWORD_MEANINGS["in"]},
            **_effects(),
        },
        minProperties=1,
    )


def _effects() -> dict[str, Schema]:
    return {
        "base": {"anyOf": [_ref("value"), _ref("shares")]},
        "prefer": _ref("pushes"),
        "avoid": _ref("pushes"),
        "weight": _ref("scalar-value"),
        "split": {"anyOf": [_names("The attributes that split."), _ref("name")]},
        "unshaped": {"enum": [True, "true"]},
    }


def _allow() -> Schema:
    """One allowance; the names of the opinions are offered, since only those can be allowed."""
    from priorlang.diagnostics.registry import REGISTRY

    opinions = [
        {"const": entry.name, "description": entry.meaning} for entry in REGISTRY.values() if entry.heuristic
    ]
    return _closed(
        {
            "finding": {"oneOf": opinions},
            "in": {"anyOf": [_names("The rules it is about."), _ref("name")]},
            "because": {"type": "string"},
        },
        required=["finding", "because"],
        meanings={
            "finding": "The opinion that is silenced.",
            "in": "The rules it is silenced in; all without it.",
        },
    )


def _definitions() -> dict[str, Schema]:
    pair = {"type": "object", "minProperties": 1}
    numbered = {**pair, "additionalProperties": _ref("number")}
    valued = {**pair, "additionalProperties": _ref("scalar-value")}
    return {
        "name": {"type": ["string", "number", "boolean"]},
        "number": {
            "description": "A number, never negative, or a parameter.",
            "anyOf": [{"type": "number", "minimum": 0}, _text(f"{_NUMBER}|{_REFERENCE}")],
        },
        "scalar-value": {
            "description": "A number, a parameter, or a ramp: `ramp 0.0 to 0.5 over layers 12..`.",
            "anyOf": [_ref("number"), _text(r"ramp\s.+\sto\s.+\sover\s+layers\s.+")],
        },
        "value": {
            "description": "A number, a parameter, a ramp, or a vector with a number for each expert.",
            "anyOf": [
                _ref("scalar-value"),
                {"type": "array", "items": _ref("number"), "minItems": 2},
                _text(r"\(.+\)"),
            ],
        },
        "set": {
            "description": "Names, numbers and ranges joined by `|`, or `all`; `not` over the whole: `not 0..3 | visual`.",
            "type": ["string", "number", "boolean"],
            "minLength": 1,
        },
        "shares": _closed(
            {
                "value": _ref("number"),
                "share": {"anyOf": [numbered, {"type": "array", "items": numbered, "minItems": 1}]},
            },
            required=["value"],
            meanings={
                "value": "The base; A is this times the number of experts.",
                "share": "Experts, and the part of A that they get, evenly; the rest is spread over the others.",
            },
        ),
        "pushes": {
            "description": "Experts, and how much their concentration changes: `{visual: 0.5}`.",
            "anyOf": [valued, {"type": "array", "items": valued, "minItems": 1}],
        },
        "member": {
            "anyOf": [
                _ref("name"),
                {**pair, "additionalProperties": {"type": "array", "items": _ref("member"), "minItems": 1}},
            ]
        },
        "attribute": {
            "anyOf": [
                {"type": "array", "items": _ref("member"), "minItems": 1},
                _closed(
                    {"adds": {"type": "array", "items": _ref("member"), "minItems": 1}}, required=["adds"]
                ),
            ]
        },
        "expectation": {
            "description": "`share(visual) > 0.6 for modality vision`, or `unshaped in layers 3`.",
            "type": "string",
            "pattern": r"^\s*(unshaped\b|.*[<>=])",
        },
    }


def _closed(
    properties: dict[str, Schema],
    required: list[str] | None = None,
    meanings: dict[str, str] | None = None,
    **more: int,
) -> Schema:
    """A mapping with these keys alone, each with its sentence."""
    said = {**KEYWORD_MEANINGS, **(meanings or {})}
    described = {key: {"description": said[key], **schema} for key, schema in properties.items()}
    needs = {"required": required} if required else {}
    return {"type": "object", "properties": described, "additionalProperties": False, **needs, **more}


def _open(values: Schema) -> Schema:
    """A mapping from names of the author's own."""
    return {"type": "object", "additionalProperties": values}


def _names(description: str) -> Schema:
    return {"type": "array", "items": _ref("name"), "minItems": 1, "description": description}


def _text(pattern: str) -> Schema:
    return {"type": "string", "pattern": rf"^\s*({pattern})\s*$"}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}
