"""Benchmarks: each figure of Switchyard beside its references, measured in the same run."""
