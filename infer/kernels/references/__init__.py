"""The perception kernels once more in NumPy and float64, written for being right.

Tests and `bench.kernels` hold every kernel against these. Where a float32 rule decides between two
outcomes, such as the cell of a point, the reference follows that very rule: there is nothing more
exact to be held to.
"""
