"""From LLaVA's JSON to batches whose tokens know their class.

    load_records ─→ ConversationDataset ─→ Collator ─→ model, shaper.tokens(**batch["token_attributes"])
                        │
                    Encoder, tokenise ─→ TokenStore ─→ keep, kept

`records` reads and checks, `images` looks at files and makes pixels of them. `chat` turns a conversation into text and
`tokenise` that into a `token_store`, in several processes where there is much; `kept` keeps it for other processes and
later starts, with `flat_records` beside it. `dataset` makes samples, `collator` batches, and `token_classes` counts what
a prior will see.

Names are imported when first used: the processes that tokenise have no need of torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpsl.train.data.collator import Collator
    from dpsl.train.data.dataset import ConversationDataset, Sample
    from dpsl.train.data.records import DataSource, Record, load_records
    from dpsl.train.data.token_classes import count_tokens
    from dpsl.train.data.turns import Turn

_HOMES = {
    "Collator": "collator",
    "ConversationDataset": "dataset",
    "DataSource": "records",
    "Record": "records",
    "Sample": "dataset",
    "Turn": "turns",
    "count_tokens": "token_classes",
    "load_records": "records",
}

__all__ = [
    "Collator",
    "ConversationDataset",
    "DataSource",
    "Record",
    "Sample",
    "Turn",
    "count_tokens",
    "load_records",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
