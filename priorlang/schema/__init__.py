"""JSON Schemas (draft 2020-12) of the YAML files that people write: priors, training files and grids.

They serve editors: keys with descriptions, values of roughly the right shape. What a file means only
`priorlang validate` knows, so the schemas let through what they cannot tell.
"""

from __future__ import annotations

from typing import Any

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]
