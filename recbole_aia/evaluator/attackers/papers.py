"""The attackers of the papers, kept to the letter so that published numbers can be compared.

They get raw embeddings, and the libraries' defaults where a paper names no value. They are not the strongest
attackers, so none of them should be the only one.
"""

from __future__ import annotations

from typing import Any, ClassVar

from recbole_aia.evaluator.attackers.base import EstimatorAttacker, register_attacker
from recbole_aia.evaluator.attackers.boosting import ON_GPU, BoostedStumps, HistogramBoosting, xgboost_device
from recbole_aia.evaluator.attackers.densities import MarginSVC, naive_bayes, neighbors
from recbole_aia.evaluator.attackers.networks import NetworkAttacker
from recbole_aia.evaluator.attackers.perceptron import Perceptron


@register_attacker
class RaidMlpAttacker(NetworkAttacker):
    """The RAID paper's attacker: raw embeddings, 100 hidden units, no balancing.

    Its penalty is fixed and its inputs are not scaled, so it sees little in small embeddings. It must not be the only
    attacker.

    Source:
        RAID (Feng et al., 2025), appendix B.2.
    """

    name = "mlp_raid"
    _layers: ClassVar[tuple[int, ...]] = (100,)

    def _estimator(self, n_users: int, seed: int) -> Any:
        return Perceptron(
            hidden_layer_sizes=self._layers,
            alpha=1.0,
            learning_rate_init=1e-3,
            max_iter=500,
            random_state=seed,
            device=self.device,
        )


@register_attacker
class RaidMlpOneLayerAttacker(RaidMlpAttacker):
    """The RAID paper's network without a hidden layer (its "layer = 1"): a linear attacker.

    Source:
        RAID (Feng et al., 2025), table 8.
    """

    name = "mlp_raid_1"
    _layers = ()


@register_attacker
class RaidMlpThreeLayerAttacker(RaidMlpAttacker):
    """The RAID paper's network with hidden layers of 100 and 64 units (its "layer = 3").

    Source:
        RAID (Feng et al., 2025), table 8.
    """

    name = "mlp_raid_3"
    _layers = (100, 64)


@register_attacker
class RaidMlpFourLayerAttacker(RaidMlpAttacker):
    """The RAID paper's network with hidden layers of 100, 64 and 32 units (its "layer = 4").

    Source:
        RAID (Feng et al., 2025), table 8.
    """

    name = "mlp_raid_4"
    _layers = (100, 64, 32)


@register_attacker
class RaidDecisionTreeAttacker(EstimatorAttacker):
    """scikit-learn's defaults, since B.2 names no value: a tree grown until its leaves are pure.

    Source:
        RAID (Feng et al., 2025), appendix B.2 and table 6.
    """

    name = "decision_tree_raid"
    most_users = None

    def _estimator(self, n_users: int, seed: int) -> Any:
        from sklearn.tree import DecisionTreeClassifier

        return DecisionTreeClassifier(random_state=seed)


@register_attacker
class RaidSvmAttacker(EstimatorAttacker):
    """scikit-learn's defaults, since B.2 names no value: an RBF kernel and C = 1.

    Source:
        RAID (Feng et al., 2025), appendix B.2 and table 6.
    """

    name = "svm_raid"
    most_users = 10_000
    uses_device = True

    def _estimator(self, n_users: int, seed: int) -> Any:
        return MarginSVC(random_state=seed, device=self.device)


@register_attacker
class RaidNaiveBayesAttacker(EstimatorAttacker):
    """scikit-learn's defaults, since B.2 names no value; the Gaussian one, because embeddings are real numbers.

    Source:
        RAID (Feng et al., 2025), appendix B.2 and table 6.
    """

    name = "naive_bayes_raid"
    most_users = None
    uses_device = True

    def _estimator(self, n_users: int, seed: int) -> Any:
        return naive_bayes(self.device)


@register_attacker
class RaidKnnAttacker(EstimatorAttacker):
    """scikit-learn's defaults, since B.2 names no value: five neighbors.

    Source:
        RAID (Feng et al., 2025), appendix B.2 and table 6.
    """

    name = "knn_raid"
    uses_device = True

    def _estimator(self, n_users: int, seed: int) -> Any:
        return neighbors(self.device)


@register_attacker
class RaidRandomForestAttacker(EstimatorAttacker):
    """A random forest of 100 trees of depth 20 at most.

    Source:
        RAID (Feng et al., 2025), appendix B.2 and table 7.
    """

    name = "random_forest_raid"
    most_users = None

    def _estimator(self, n_users: int, seed: int) -> Any:
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(n_estimators=100, max_depth=20, n_jobs=1, random_state=seed)


@register_attacker
class RaidAdaBoostAttacker(EstimatorAttacker):
    """Fifty rounds of SAMME. The paper's scikit-learn 1.1.3 ran SAMME.R, which later versions dropped.

    Source:
        RAID (Feng et al., 2025), appendix B.2 and table 7.
    """

    name = "adaboost_raid"
    most_users = None
    uses_device = True

    def _estimator(self, n_users: int, seed: int) -> Any:
        return BoostedStumps(n_estimators=50, device=self.device)


@register_attacker
class RaidGradientBoostingAttacker(EstimatorAttacker):
    """A hundred boosted trees of depth 3, rate 0.1.

    One departure: splits lie between 256 bins and are chosen by the second-order gain. This takes a twentieth of the
    time of scikit-learn's exact splits; AUCs differ by less than 0.01 on 6,040 users.

    Source:
        RAID (Feng et al., 2025), appendix B.2 and table 7.
    """

    name = "gradient_boosting_raid"
    most_users = None
    uses_device = True
    device_users = ON_GPU

    def _estimator(self, n_users: int, seed: int) -> Any:
        return HistogramBoosting(n_estimators=100, random_state=seed, device=self.device)


@register_attacker
class RaidXgboostAttacker(EstimatorAttacker):
    """XGBoost at all of the library's defaults; ``xgboost`` is the same on 64 bins.

    Source:
        RAID (Feng et al., 2025), appendix B.2 and table 7.
    """

    name = "xgboost_raid"
    most_users = None
    uses_device = True
    device_users = ON_GPU

    def _estimator(self, n_users: int, seed: int) -> Any:
        from xgboost import XGBClassifier

        return XGBClassifier(device=xgboost_device(self.device), n_jobs=1, random_state=seed)


@register_attacker
class OkttonMlpAttacker(NetworkAttacker):
    """A network of 100 hidden units with step 0.01. It learns from equally many users of every class.

    Only training users are dropped for this; all held-out users are attacked. AUC and balanced accuracy do not depend
    on the sizes of the classes among held-out users, so they compare with results on a sample balanced beforehand.

    Source:
        The code of U2U-R and D2D-R, github.com/oktton/Attribute-wise-Unlearning.
    """

    name = "mlp_oktton"
    _balance = "undersample"

    def _estimator(self, n_users: int, seed: int) -> Any:
        return Perceptron((100,), learning_rate_init=0.01, random_state=seed, device=self.device)


@register_attacker
class OkttonXgboostAttacker(EstimatorAttacker):
    """Fifty boosted trees of depth 4 with rate 0.5. It learns from equally many users of every class.

    Only training users are dropped for this; all held-out users are attacked. AUC and balanced accuracy do not depend
    on the sizes of the classes among held-out users, so they compare with results on a sample balanced beforehand.

    Source:
        The code of U2U-R and D2D-R, github.com/oktton/Attribute-wise-Unlearning.
    """

    name = "xgboost_oktton"
    most_users = None
    uses_device = True
    device_users = ON_GPU
    _balance = "undersample"

    def _estimator(self, n_users: int, seed: int) -> Any:
        from xgboost import XGBClassifier

        return XGBClassifier(
            max_depth=4,
            n_estimators=50,
            learning_rate=0.5,
            device=xgboost_device(self.device),
            n_jobs=1,
            random_state=seed,
        )
