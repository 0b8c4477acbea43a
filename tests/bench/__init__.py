"""Benchmarks: ours against what else there is, in the same run."""
