"""Training a grid's jobs: `schedule` starts a process for each, `job` is that process, `take_over` what it need not train.

What a grid is, which stages its cells share and what came out is `priorlang.grid`'s, without torch.
"""
