"""RecBole's regularization of embeddings, without its copies from the CPU."""

from __future__ import annotations

import torch
from recbole.model.loss import EmbLoss
from torch import Tensor

from recbole_aia.ranks import ranks


class EmbeddingNorms(EmbLoss):  # type: ignore[misc]
    """RecBole's ``EmbLoss``: bit for bit the same, but the sum starts on the device of the embeddings.

    A copy from the CPU would wait for the GPU in every step, and a captured step cannot contain one.
    """

    def forward(self, *embeddings: Tensor, require_pow: bool = False) -> Tensor:
        """The sum of norms, or of their powers, per row of a batch, ``[1]``."""
        if ranks().batch is not None and not require_pow:
            return _shares(*embeddings).sum().view(1) / len(embeddings[-1])
        total = embeddings[-1].new_zeros(1)
        for embedding in embeddings:
            norm = torch.norm(embedding, p=self.norm)
            total = total + (norm.pow(self.norm) if require_pow else norm)
        mean = total / len(embeddings[-1])
        return mean / self.norm if require_pow else mean


def _shares(*embeddings: Tensor) -> Tensor:
    r"""This process's shares in the norms of a batch whose rows several processes have, one for each of ``embeddings``.

    A norm is no sum over rows. With the squares :math:`s_r` of the processes the share is
    :math:`s_r / \sqrt{\sum s_r}`: shares add up to the norm, and their gradients to its gradient.
    """
    batch = ranks().batch
    assert batch is not None
    squares = torch.stack([embedding.square().sum() for embedding in embeddings]) * float(batch.share > 0)
    total = squares.detach().clone()
    ranks().add(total)
    # The value is s_r / |W|, the gradient that of s_r / (2 |W|).
    return (squares + squares.detach()) / (2 * total.sqrt().clamp_min(torch.finfo(total.dtype).tiny))
