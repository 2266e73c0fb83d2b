"""Routing → the prior it has become, as a file that people read.

units      tokens that were counted together, and the Dirichlet that fits each
divergence KL between many Dirichlets
clusters   units whose fits agree within a tolerance
numbers    the roundest α within a tolerance
regions    α of every cell → the fewest effects on rectangles of cells
write      effects → the text of a prior file
fit        all of it, and the check that the file says what was fitted
"""
