"""The parts of `dpsl.Shaper` (../shaper.py), one reason each.

layout         where each layer's token classes lie in the table: priors, populations, groups of statistics
token_classes  the codes and names that a caller gives, as a token class for every token
micro_step     one forward pass: its gradients until its backward pass, and the scale that arrived there
attachment     the autograd function that hands a router its gradient
recompute      whether a forward pass is a recomputation
schedule       the factor on every weight over training
accumulator    running sums behind RoutingStatistics
metrics        running sums behind Shaper.metrics
"""
