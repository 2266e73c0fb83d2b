"""Two priors → what differs between them.

load.py reads what is compared; grid.py lays two tables over one grid of cells; regions.py groups the
cells that changed; difference.py puts it together; runs.py compares the results of two runs; render.py
prints.
"""
