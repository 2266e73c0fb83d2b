"""What the compiler has to say, and how it says it.

finding.py and span.py are the types; registry.py lists every kind of finding; human.py and machine.py
render them.
"""
