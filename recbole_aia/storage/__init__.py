"""Files: written whole or not at all, checkpoints that hold plain data, and the folder that a job leaves.

``files`` writes and fingerprints, ``checkpoints`` reads and checks, ``run_folder`` has what a run leaves, ``plain`` reduces
values to numbers, texts, lists and mappings.
"""
