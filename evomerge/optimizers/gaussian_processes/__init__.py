"""Bayesian optimisation of fronts: Gaussian processes by BoTorch (extra 'botorch').

transforms    costs to what a model is fitted to, and the reference point on that scale
encoding      genotypes to what a model is fitted on
models        one Gaussian process an objective
posterior     what they predict, alone and together with the points evaluated
boxes         the part of objective space that a front leaves undominated
acquisition   what evaluating a point is expected to be worth
maximise      where that is largest
weak_to_strong, screens, rerank    variation and choice of candidates
proposer      all of it together: from evaluations to the next points
mm_mo, mobo   the two optimizers
"""
