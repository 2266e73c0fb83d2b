"""How a model routed, as numbers that need no torch: gathered by the engine, read by checks, fits and reports.

statistics     sums and histograms for each layer and population, and measures of them
class_sums     the same sums for each token class
storage        their file, routing.safetensors
run            the routing of a run folder, with the prior it was gathered under
populations    that routing, counted by the populations of any prior
dirichlet_fit  the Dirichlet that fits scores best
attainment     how far a population lies from a Dirichlet
"""
