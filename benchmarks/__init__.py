"""Benchmarks: runnable scripts, see ``python -m benchmarks --help``."""
