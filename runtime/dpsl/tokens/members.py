"""The members that every prior's modality has."""

from __future__ import annotations

from dpsl.errors import DpslError
from priorlang.table.prior_table import PriorTable

MODALITY = "modality"
VISION, LANGUAGE = "vision", "language"


def modality_codes(table: PriorTable | None) -> tuple[int, int] | None:
    """The codes of vision and language tokens; None where the prior does not ask for the modality.

    Raises:
        DpslError: the prior's modality has other members.
    """
    for attribute in table.header.attributes if table is not None else ():
        if attribute.name == MODALITY:
            vision, language = attribute.code(VISION), attribute.code(LANGUAGE)
            if vision is None or language is None:
                raise DpslError(
                    f"the prior's attribute {MODALITY}",
                    f"its members are {', '.join(attribute.members)}, but tokens are {VISION} or {LANGUAGE}",
                    f"name its members {VISION} and {LANGUAGE}, or add `unknown`",
                )
            return vision, language
    return None
