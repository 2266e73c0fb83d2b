"""Routers: where a model keeps them, and what can be read from their outputs.

`find.py` asks one adapter per kind of router (`upcycled.py`, `recorded.py`) and knows nothing of any
kind itself; `output.py` reads logits, scores and choices from whatever a router returned. A new kind is
one more adapter file and one more name in `find.ADAPTERS`.
"""
