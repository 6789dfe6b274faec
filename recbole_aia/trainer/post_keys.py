"""The keys of defenses after training: what moves, and how it descends."""

from __future__ import annotations

from recbole_aia.config.keys import Choice, Count, Flag, Key, Number

TARGET = Choice(
    None,
    "What moves: table, tower (DMF, MultiVAE), released (both, LightGCN, NGCF: the served vectors, which no longer "
    "follow the model), or own (the parameters that embed users: table or tower). ~: the model's first that works.",
    choices=("table", "tower", "released", "own"),
)


def descent_keys(rate: float, steps: int) -> dict[str, Key]:
    """The keys that :meth:`~recbole_aia.trainer.post.Unlearner.descend` reads.

    Args:
        rate: the default of ``unlearn_learning_rate``.
        steps: the default of ``unlearn_max_steps``.
    """
    return {
        "unlearn_learning_rate": Number(
            rate,
            "The optimizer's rate, relative to the standard deviation of each table that moves.",
            low=0,
            above=True,
        ),
        "unlearn_relative": Flag(True, "False: unlearn_learning_rate is the rate itself, as in papers."),
        "unlearn_optimizer": Choice(
            "adam",
            "adam, or gd (plain gradient descent), whose steps are as long as their gradients.",
            choices=("adam", "gd"),
        ),
        "unlearn_max_steps": Count(
            steps,
            "Most steps. With too many, classes become so alike that attackers answer in reverse, which leaks too.",
            low=1,
        ),
        "unlearn_tolerance": Number(
            0.001, "Least relative fall of the loss between two looks (ten steps) that counts as a fall.", low=0
        ),
        "unlearn_patience": Count(5, "Looks without a fall after which unlearning has converged.", low=1),
    }
