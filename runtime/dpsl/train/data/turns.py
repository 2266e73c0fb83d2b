"""What a conversation is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PLACEHOLDER = "<image>"
"""Where a conversation shows an image, whatever the model's own image token is."""

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation."""

    role: Role
    text: str
