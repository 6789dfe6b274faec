"""The views of the models that come with one: BPR, NeuMF, LightGCN, NGCF, DMF and MultiVAE."""

from __future__ import annotations

import torch.nn.functional as F
from recbole.model import general_recommender
from torch import Tensor, nn

from recbole_aia.model.lightgcn import LightGCN
from recbole_aia.model.multivae import drawn_vectors, pair_logits
from recbole_aia.model.neumf import all_logits, user_tables
from recbole_aia.model.views import UserEmbeddingView, register_view


class BPRView(UserEmbeddingView):
    """Matrix factorisation: the users have one table, and inner products with the items score."""


class NeuMFView(UserEmbeddingView):
    """NeuMF: the users have the tables of the parts that the model uses (MF, MLP), and an MLP scores."""

    def tables(self) -> list[nn.Parameter]:
        """See :meth:`UserEmbeddingView.tables`."""
        return user_tables(self.model)

    def logits(self, users: Tensor, items: Tensor) -> Tensor:
        """See :meth:`UserEmbeddingView.logits`."""
        return self.model(self._ids(users), self._ids(items))  # type: ignore[no-any-return]

    def scores(self, vectors: Tensor) -> Tensor:
        """See :meth:`UserEmbeddingView.scores`."""
        return all_logits(self.model, vectors)


class GraphView(UserEmbeddingView):
    """LightGCN and NGCF: the table is the first layer, and propagating it gives the served vectors."""

    caches = ("restore_user_e", "restore_item_e")
    shared = ("forward",)
    targets = ("released", "table")

    def served(self, users: Tensor | None = None) -> Tensor:
        """See :meth:`UserEmbeddingView.served`."""
        return F.embedding(self._ids(users), self.model.forward()[0])

    def tables(self) -> list[nn.Parameter]:
        """See :meth:`UserEmbeddingView.tables`; empty if the model serves released vectors."""
        return super().tables() if self.released is None else []

    def freeze(self) -> None:
        """See :meth:`UserEmbeddingView.freeze`."""
        self.model.released_items = self.model.forward()[1].clone()
        self.model.user_embedding.weight.zero_()
        self.model.item_embedding.weight.zero_()

    def items(self) -> Tensor:
        """See :meth:`UserEmbeddingView.items`."""
        return self.model.forward()[1]  # type: ignore[no-any-return]


class LightGCNView(GraphView):
    """LightGCN: every layer is a weighted sum over neighbors, so the served vectors are linear in the tables."""

    @property
    def affine(self) -> bool:
        """See :attr:`UserEmbeddingView.affine`; false for subclasses that propagate in another way."""
        return type(self.model).forward in (general_recommender.LightGCN.forward, LightGCN.forward)


class TowerView(UserEmbeddingView):
    """Base for models without a user table: a tower computes users from interactions, unless they are released."""

    targets = ("released", "tower")

    def write(self, values: Tensor, users: Tensor | None = None) -> None:
        """See :meth:`UserEmbeddingView.write`: releases all users, then sets the vectors of ``users``."""
        released = self.release().detach().clone()
        released[self._ids(users)] = values.to(released)
        self.model.released_users = released
        self.clear_caches()

    def tables(self) -> list[nn.Parameter]:
        """See :meth:`UserEmbeddingView.tables`."""
        return []


class DMFView(TowerView):
    """DMF: a tower computes users from their rows of the interaction matrix."""

    zeros = True
    caches = ("i_embedding", "u_embedding")
    shared = ("user_features", "item_features")

    def logits(self, users: Tensor, items: Tensor) -> Tensor:
        """See :meth:`UserEmbeddingView.logits`."""
        return self.model(self._ids(users), self._ids(items))  # type: ignore[no-any-return]

    def served(self, users: Tensor | None = None) -> Tensor:
        """See :meth:`UserEmbeddingView.served`."""
        if hasattr(self.model, "user_vectors"):
            return self.model.user_vectors(self._ids(users))  # type: ignore[no-any-return]
        return self.model.user_fc_layers(self.model.get_user_embedding(self._ids(users)))  # type: ignore[no-any-return]

    def tower(self) -> list[nn.Parameter]:
        """See :meth:`UserEmbeddingView.tower`."""
        return [*self.model.user_linear.parameters(), *self.model.user_fc_layers.parameters()]

    def items(self) -> Tensor:
        """See :meth:`UserEmbeddingView.items`."""
        return self.model.get_item_embedding()  # type: ignore[no-any-return]


class MultiVAEView(TowerView):
    """MultiVAE: the encoder computes the mean of a user's latent distribution, and the decoder scores it."""

    caches = ("u_embedding",)
    shared = ("user_features",)

    def logits(self, users: Tensor, items: Tensor) -> Tensor:
        """See :meth:`UserEmbeddingView.logits`."""
        return pair_logits(self.model, self.served, users, items)

    def scores(self, vectors: Tensor) -> Tensor:
        """See :meth:`UserEmbeddingView.scores`."""
        return self.model.decoder(vectors)  # type: ignore[no-any-return]

    def served(self, users: Tensor | None = None) -> Tensor:
        """See :meth:`UserEmbeddingView.served`; without dropout and noise, in training too."""
        ids = self._ids(users)
        if hasattr(self.model, "user_vectors"):
            return self.model.user_vectors(ids)  # type: ignore[no-any-return]
        rows = F.normalize(self.model.get_rating_matrix(ids))
        return self.model.encoder(rows)[:, : self.model.lat_dim // 2]  # type: ignore[no-any-return]

    def drawn(self, users: Tensor | None = None) -> Tensor:
        """See :meth:`UserEmbeddingView.drawn`."""
        return self.served(users) if self.released is not None else drawn_vectors(self.model, self._ids(users))

    def tower(self) -> list[nn.Parameter]:
        """See :meth:`UserEmbeddingView.tower`: the encoder, whose last layer gives the variance too."""
        return list(self.model.encoder.parameters())


for _model, _view in (
    (general_recommender.BPR, BPRView),
    (general_recommender.NeuMF, NeuMFView),
    (general_recommender.DMF, DMFView),
    (general_recommender.MultiVAE, MultiVAEView),
    (general_recommender.LightGCN, LightGCNView),
    (general_recommender.NGCF, GraphView),
):
    register_view(_model, _view)
