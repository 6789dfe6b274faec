"""MultiVAE with RecBole's numbers, which computes and scores all users at once, and whose users can be released."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from recbole.model.general_recommender import multivae
from torch import Tensor

from recbole_aia.errors import CheckpointError, ConfigValueError
from recbole_aia.model.sparse import SparseMatrix

_RECBOLE_NOISE = 0.01  # the noise that RecBole draws, in units of the standard deviation that the encoder says


class MultiVAE(multivae.MultiVAE):  # type: ignore[misc]
    """RecBole's MultiVAE. A user is the mean of the latent distribution that the encoder makes of the user's items.

    Training is RecBole's, bit for bit. The key ``latent_noise`` scales the noise of the sample that training decodes:
    RecBole draws 0.01 standard deviations, the papers one. The number of steps so far, which the weight of the KL loss
    follows, is kept in checkpoints; RecBole forgets it.

    Users can be *released*: frozen vectors that the decoder scores in place of the encoder's means.

    Raises:
        ConfigValueError: ``latent_dimension``, half of which is the mean and half the variance, is odd.
    """

    released_users: Tensor | None = None

    def __init__(self, config: Any, dataset: Any) -> None:
        if config["latent_dimension"] % 2:
            raise ConfigValueError(
                f"latent_dimension is {config['latent_dimension']}. Give an even number: one half is the mean, and one "
                "the variance."
            )
        super().__init__(config, dataset)
        noise = config["latent_noise"]
        self.latent_noise = _RECBOLE_NOISE if noise is None else float(noise)
        self.user_rows = SparseMatrix(_unit_rows(dataset.inter_matrix(form="csr"))).to(self.device)
        #: The vectors of all users, kept for scoring.
        self.u_embedding: Tensor | None = None
        self.other_parameter_name = ["u_embedding", "released_users", "update"]

    def load_other_parameter(self, para: Mapping[str, Any] | None) -> None:
        """See ``AbstractRecommender.load_other_parameter``.

        Raises:
            CheckpointError: the number of steps is none.
        """
        steps = (para or {}).get("update", 0)
        if type(steps) is not int or steps < 0:
            raise CheckpointError(f"the checkpoint says MultiVAE was trained for {steps!r} steps. Use another one.")
        super().load_other_parameter(para)

    def user_features(self) -> Tensor:
        """The first layer of the encoder for all users, ``[n_users, h]``, without dropout."""
        first = self.encoder[0]
        return self.user_rows @ first.weight.t() + first.bias  # type: ignore[no-any-return]

    def user_vectors(self, users: Tensor) -> Tensor:
        """The vectors that score users ``[n]``, latent means or released, ``[n, d]``."""
        if self.released_users is not None:
            return self.released_users[users]
        hidden = self.encoder[1:](F.embedding(users, self.user_features()))
        return hidden[:, : self.lat_dim // 2]  # type: ignore[no-any-return]

    def reparameterize(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """In training a sample of the latent distribution, with ``latent_noise``; otherwise the mean."""
        if not self.training:
            return mu
        std = torch.exp(0.5 * logvar)
        return mu + torch.zeros_like(std).normal_(0, self.latent_noise) * std

    def calculate_loss(self, interaction: Any) -> Tensor:
        """RecBole's loss; also forgets the users kept for scoring. Released users have no distribution and no KL."""
        self.u_embedding = None
        if self.released_users is None:
            return super().calculate_loss(interaction)  # type: ignore[no-any-return]
        users = interaction[self.USER_ID]
        logs = F.log_softmax(self.decoder(self.released_users[users]), dim=1)
        loss: Tensor = -(logs * self.get_rating_matrix(users)).sum(1).mean()
        return loss

    def predict(self, interaction: Any) -> Tensor:
        """Logits ``[n]`` of user and item pairs."""
        return pair_logits(self, self.user_vectors, interaction[self.USER_ID], interaction[self.ITEM_ID])

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Logits of all items for each user, flattened."""
        if self.u_embedding is None:
            self.u_embedding = self.user_vectors(torch.arange(self.n_users, device=self.device))
        return self.decoder(self.u_embedding[interaction[self.USER_ID]]).view(-1)  # type: ignore[no-any-return]


def pair_logits(model: multivae.MultiVAE, vectors: Callable[[Tensor], Tensor], users: Tensor, items: Tensor) -> Tensor:
    """Logits ``[n]`` of pairs of a user and an item, ``[n]`` each; a user's hidden units are computed once.

    Args:
        model: a MultiVAE, ours or RecBole's.
        vectors: gives the vectors ``[m, d]`` of users ``[m]``.
        users: ids.
        items: ids.
    """
    different, places = users.unique(return_inverse=True)
    last = model.decoder[-1]
    hidden = F.embedding(places, model.decoder[:-1](vectors(different)))
    return (hidden * F.embedding(items, last.weight)).sum(1) + last.bias[items]  # type: ignore[no-any-return]


def drawn_vectors(model: multivae.MultiVAE, users: Tensor) -> Tensor:
    """What training decodes for users ``[n]``: their profiles with dropout, encoded and sampled, ``[n, d]``.

    In evaluation mode these are the means.
    """
    rows = F.dropout(F.normalize(model.get_rating_matrix(users)), model.drop_out, training=model.training)
    hidden, half = model.encoder(rows), model.lat_dim // 2
    return model.reparameterize(hidden[:, :half], hidden[:, half:])  # type: ignore[no-any-return]


def _unit_rows(interactions: sp.spmatrix) -> sp.csr_matrix:
    """Rows of length 1, in which a repeated interaction counts once; a user without interactions has a row of zeros."""
    ones = sp.csr_matrix(interactions)
    ones.sum_duplicates()
    ones.data = np.ones(len(ones.data), dtype=np.float32)
    lengths = np.sqrt(np.maximum(np.diff(ones.indptr), 1))
    return sp.csr_matrix(sp.diags(1 / lengths) @ ones)
