"""A model of one's own, and the view through which attacks and defenses see its users."""

from typing import Any

from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.init import xavier_normal_initialization
from recbole.model.loss import BPRLoss
from recbole.utils import InputType
from torch import Tensor, nn

from recbole_aia import UserEmbeddingView, register_view


class Popular(GeneralRecommender):
    """Matrix factorisation in which each item has a popularity besides its vector."""

    input_type = InputType.PAIRWISE

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        size = config["embedding_size"] or 64
        self.tastes = nn.Embedding(self.n_users, size)
        self.contents = nn.Embedding(self.n_items, size)
        self.popularity = nn.Embedding(self.n_items, 1)
        self.loss = BPRLoss()
        self.apply(xavier_normal_initialization)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        return (self.tastes(users) * self.contents(items)).sum(dim=1) + self.popularity(items).squeeze(1)

    def calculate_loss(self, interaction: Any) -> Tensor:
        users = interaction[self.USER_ID]
        return self.loss(self(users, interaction[self.ITEM_ID]), self(users, interaction[self.NEG_ITEM_ID]))

    def predict(self, interaction: Any) -> Tensor:
        return self(interaction[self.USER_ID], interaction[self.ITEM_ID])

    def full_sort_predict(self, interaction: Any) -> Tensor:
        vectors = self.tastes(interaction[self.USER_ID])
        return (vectors @ self.contents.weight.T + self.popularity.weight.T).view(-1)


class PopularView(UserEmbeddingView):
    """Users in one table, and scores that are no mere inner products."""

    def tables(self) -> list[nn.Parameter]:
        return [self.model.tastes.weight]

    def scores(self, vectors: Tensor) -> Tensor:
        return vectors @ self.model.contents.weight.T + self.model.popularity.weight.T


register_view(Popular, PopularView)
