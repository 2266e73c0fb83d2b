"""Figures: each a pure function of numbers → an `<svg>` element. matplotlib is imported when one is drawn.

`training` draws what moved with the steps, `accuracy` held-out answers, `load` and `scores` the routing of a stage;
`priorlang.pages` is how all of them look.
"""
