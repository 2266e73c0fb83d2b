"""Two priors → what differs between them.

`load` reads what is compared; `grid` lays two tables over one grid of cells. `declarations`, `rules` and `regions` each
find one kind of difference, `difference` puts them together, and `runs` compares the results of two runs. `summary`
gathers regions that changed in one way; `human`, `markdown` and `machine` print. `git` is the driver of `git diff`.
"""
