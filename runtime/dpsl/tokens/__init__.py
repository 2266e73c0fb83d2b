"""Which token is what: the attributes of tokens on their way from a data set to `Shaper.tokens`.

    records with attributes ─→ TokenCollator(any collator) ─→ batch["token_attributes"]
    with shaper.tokens(**batch.pop("token_attributes")): loss = model(**batch).loss

`collator` adds the codes of a prior to any collator's batch; `values` reads what a record states; `align` lays
codes along padded and packed rows; `expand` follows image tokens as they expand; `shard` cuts codes and masks as
sequence parallelism cuts the sequence.
"""

from dpsl.tokens.collator import TOKEN_ATTRIBUTES, TokenCollator
from dpsl.tokens.expand import expand_codes
from dpsl.tokens.shard import shard_tokens

__all__ = ["TOKEN_ATTRIBUTES", "TokenCollator", "expand_codes", "shard_tokens"]
