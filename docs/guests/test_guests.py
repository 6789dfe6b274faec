"""The guests' own tests: each inherits the contract suite of its kind."""

import torch
from guests.erasure import Erasure
from guests.means import MeansTrainer
from guests.nearest_mean import NearestMean
from guests.popular import Popular

from recbole_aia.testing import AttackerContract, DefenseContract, UnlearnerContract, ViewContract


class TestErasure(UnlearnerContract):
    """What every defense after training promises, and what this one promises besides."""

    defense = Erasure

    def test_class_means_of_those_who_asked_are_equal_afterwards(self, subject, tmp_path):
        prepared, users = self.prepare(subject, tmp_path), torch.arange(1, 200)
        prepared.unlearn(users)
        vectors, genders = prepared.served()[users - 1], prepared.labels.column("gender")[users]
        means = [vectors[genders == k].mean(dim=0) for k in (0, 1)]
        torch.testing.assert_close(means[0], means[1], atol=1e-6, rtol=0)

    def test_half_the_strength_leaves_half_of_the_difference(self, subject, tmp_path):
        gaps = []
        for strength in (0.0, 0.5):
            prepared = self.prepare(subject, tmp_path, erasure_strength=strength)
            prepared.unlearn()
            genders = prepared.labels.column("gender")[1:]
            gaps.append(prepared.served()[genders == 0].mean(dim=0) - prepared.served()[genders == 1].mean(dim=0))
        torch.testing.assert_close(gaps[1], gaps[0] / 2, atol=1e-6, rtol=0)


class TestMeans(DefenseContract):
    """What every defense during training promises."""

    defense = MeansTrainer


class TestNearestMean(AttackerContract):
    """What every attacker promises."""

    attacker = NearestMean


class TestPopular(ViewContract):
    """What every view promises."""

    model = Popular
