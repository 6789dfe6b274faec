"""A grid of runs that take little time."""

GRID = """\
title: Tiny
models: [BPR]
attributes: [[gender]]
seeds: [1]
settings:
  {epochs: 1, embedding_size: 8, attackers: [logistic], attack_repeats: 1, attack_views: [served],
   attack_permutations: 20, train_batch_size: 8192}
methods:
  undefended: {defense: none}
  noise: {defense: noise}
  wrong: {defense: noise, noise_scale: -1}
measures: [{worst_case: true}, {kept: ndcg@10}]
"""
#: The files of a comparison that say no seconds.
TABLES = ("table.md", "table.tex", "tests.csv", "failed.csv")
