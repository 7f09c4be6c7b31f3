"""Benchmarks: Posthouse beside its peers, in turn, in one run on one machine; medians and ratios."""
