"""Routers: where a model keeps them, and what can be read from their outputs.

`find.py` asks one adapter per kind of router (`upcycled.py`, `recorded.py`, `deepspeed_moe.py`, `autoep.py`, and
`named.py` for modules that the user names) and knows nothing of any kind itself; `output.py` reads logits, scores and
choices from whatever a router returned; `blocks.py` finds experts by their shape, for those whose router was not
found and for ZeRO-3 (`zero3.py`). A new kind is one more adapter file and one more name in `find.ADAPTERS`.
"""
