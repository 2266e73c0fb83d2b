"""The parts of `dpsl.Shaper` (../shaper.py), one reason each.

layout         where each layer's token classes lie in the table: priors, populations, groups of statistics
token_classes  the codes and names that a caller gives, as a token class for every token
given          what a forward pass of the model is called with
passes         the model's forward passes, and which micro-step each is
router_hook    what happens at a router; `reader` takes its output apart
micro_step     one forward pass: its gradients until its backward pass, and the scale that arrived there
attachment     the autograd function that hands a router its gradient
recompute      whether a forward pass is a recomputation
whole_pass     all routers of a forward pass at once, with `prior_loss`
cdf_memory     tokens of other passes to be ranked among; `window_state` keeps them, `sight` knows a pass again
progress       how far training is
schedule       the factor on every weight over training
accumulator    running sums behind RoutingStatistics
metrics        running sums behind Shaper.metrics
"""
