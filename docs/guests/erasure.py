"""Linear erasure after training: no linear attacker tells the classes of the users who asked."""

from typing import Any

import torch

from recbole_aia import Unlearner, UnlearningTask, keys, register_defense


@register_defense
class Erasure(Unlearner):
    """Linear erasure (LEACE, Belrose et al. 2023): classes get equal means, and users move as little as that takes."""

    defense = "erasure"
    keys = {"erasure_strength": keys.Number(1.0, "Share of the gap between class means to remove.", low=0, high=1)}

    def edit(self, task: UnlearningTask, train_data: Any) -> dict[str, Any]:
        target = self.target(task)
        vectors = target.initial.double()
        centered = vectors - vectors.mean(dim=0)
        variances, axes = torch.linalg.eigh(centered.T @ centered / len(centered))
        real = variances > 1e-9 * variances.max()
        axes, deviations = axes[:, real], variances[real].sqrt()
        white = centered @ axes / deviations  # [n, r]: every direction has variance 1

        columns = task.labels.T  # a row for each attribute; -1 where a user has no label
        means = torch.stack(
            [white[column == k].mean(dim=0) for column in columns for k in column[column >= 0].unique()]
        )
        directions, sizes, _ = torch.linalg.svd(means.T, full_matrices=False)
        directions = directions[:, sizes > 1e-9]

        gone = (white @ directions @ directions.T * deviations) @ axes.T  # what tells class means apart, unwhitened
        target.place((vectors - self.config["erasure_strength"] * gone).to(target.initial.dtype))
        target.finish()
        return {"directions": directions.shape[1]}
