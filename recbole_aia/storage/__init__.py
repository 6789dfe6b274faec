"""Files: written whole or not at all, checkpoints of plain data, and the folder that a job leaves.

``files`` writes and fingerprints files, ``checkpoints`` reads and checks checkpoints, ``run_folder`` writes the files
of a run, and ``plain`` reduces values to numbers, texts, lists and mappings. ``snapshots`` and ``progress`` keep what a
job has done, for the job that goes on after an interruption.
"""
