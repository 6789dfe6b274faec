"""A defense during training: class means are drawn together while the recommender learns."""

import torch
from torch import Tensor

from recbole_aia import DefenseTrainer, UserEmbeddingView, keys, register_defense
from recbole_aia.trainer import LossTerm, Phase


class MeansTerm(LossTerm):
    """The squared distance of class means from the mean of all users, times a weight."""

    name = "means"

    def __init__(self, view: UserEmbeddingView, columns: list[Tensor], weight: float) -> None:
        self.view, self.columns, self.weight = view, columns, weight

    def __call__(self) -> Tensor:
        vectors = self.view.served()
        means = [vectors[column == k].mean(dim=0) for column in self.columns for k in column[column >= 0].unique()]
        return self.weight * (torch.stack(means) - vectors.mean(dim=0)).square().sum(dim=1).mean()


@register_defense
class MeansTrainer(DefenseTrainer):
    """Class means are drawn together during training, against linear attackers alone."""

    defense = "means"
    keys = {"means_weight": keys.Number(1.0, "Weight of the term against the recommendation loss.", low=0)}

    def phases(self) -> list[Phase]:
        columns = [self.labels.column(name)[1:].to(self.device) for name in self.labels.names]
        return [Phase(self.config["epochs"], (MeansTerm(self.view, columns, self.config["means_weight"]),))]
