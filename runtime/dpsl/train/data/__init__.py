"""From LLaVA's JSON to batches whose tokens know their class.

    load_records ─→ ConversationDataset ─→ Collator ─→ model, shaper.tokens(**batch["token_attributes"])

`records` reads and checks, `chat` turns a conversation into text, `images` into pixels, `dataset` into
tokens and labels, `collator` into a batch, and `token_classes` counts what a prior will see.
"""

from dpsl.train.data.collator import Collator
from dpsl.train.data.dataset import ConversationDataset, Sample
from dpsl.train.data.records import DataSource, Record, Turn, load_records
from dpsl.train.data.token_classes import count_tokens

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
