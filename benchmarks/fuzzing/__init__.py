"""Fuzzes every parser of files that somebody else may have written; ``python -m benchmarks.fuzzing --help``.

``targets`` has the parsers and what may come of them, ``corpus`` the files to begin with, and ``mutation`` the changes.
"""
