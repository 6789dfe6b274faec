"""Attackers made of decision trees. They need no scaling, because they only compare values within a dimension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recbole_aia.evaluator.attackers.base import EstimatorAttacker, register_attacker
from recbole_aia.evaluator.attackers.boosting import ON_GPU, BoostedStumps, BudgetedXgboost, xgboost_device


@register_attacker
class XgboostAttacker(EstimatorAttacker):
    """Gradient-boosted trees at the library's defaults, as in the RAID and AttrCloak papers.

    One departure: 64 histogram bins in place of 256. On MovieLens-100K factors the AUC differs by less than 0.01,
    and a fit takes a third of the time.
    """

    name = "xgboost"
    most_users = None
    uses_device = True
    device_users = ON_GPU

    def _estimator(self, n_users: int, seed: int) -> Any:
        from xgboost import XGBClassifier

        return XGBClassifier(
            tree_method="hist", max_bin=64, device=xgboost_device(self.device), n_jobs=1, random_state=seed
        )


@register_attacker
class TunedXgboostAttacker(XgboostAttacker):
    """XGBoost with classes weighted equally, its depth and rate chosen among the training users.

    A hundred rounds for up to four classes, fewer for more.
    """

    name = "xgboost_tuned"
    _balance = "weights"

    def _estimator(self, n_users: int, seed: int) -> Any:
        return BudgetedXgboost(random_state=seed, device=self.device)

    def _grid(self, n_users: int) -> Sequence[dict[str, Any]]:
        return (
            {"max_depth": 2, "learning_rate": 0.1},
            {"max_depth": 4, "learning_rate": 0.1},
            {"max_depth": 6, "learning_rate": 0.3},
        )


@register_attacker
class DecisionTreeAttacker(EstimatorAttacker):
    """One tree with leaves of at least ten users, classes weighted equally, its depth (4, 2, 8) chosen."""

    name = "decision_tree"
    most_users = None

    def _estimator(self, n_users: int, seed: int) -> Any:
        from sklearn.tree import DecisionTreeClassifier

        return DecisionTreeClassifier(min_samples_leaf=10, class_weight="balanced", random_state=seed)

    def _grid(self, n_users: int) -> Sequence[dict[str, Any]]:
        return ({"max_depth": 4}, {"max_depth": 2}, {"max_depth": 8})


@register_attacker
class RandomForestAttacker(EstimatorAttacker):
    """Two hundred trees with leaves of at least five users, classes weighted equally; forests need no tuning."""

    name = "random_forest"
    most_users = None

    def _estimator(self, n_users: int, seed: int) -> Any:
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(200, min_samples_leaf=5, class_weight="balanced", n_jobs=1, random_state=seed)


@register_attacker
class AdaBoostAttacker(EstimatorAttacker):
    """A hundred boosted stumps, classes weighted equally at the start."""

    name = "adaboost"
    most_users = None
    uses_device = True
    _balance = "weights"

    def _estimator(self, n_users: int, seed: int) -> Any:
        return BoostedStumps(n_estimators=100, device=self.device)


@register_attacker
class GradientBoostingAttacker(EstimatorAttacker):
    """A hundred boosted trees of depth 3, each grown on half of the users, classes weighted equally.

    A split looks at as many dimensions as the square root of their number, which is eight times as fast for 64.

    Source:
        Friedman (2002), Stochastic gradient boosting.
    """

    name = "gradient_boosting"
    _balance = "weights"

    def _estimator(self, n_users: int, seed: int) -> Any:
        from sklearn.ensemble import GradientBoostingClassifier

        return GradientBoostingClassifier(n_estimators=100, subsample=0.5, max_features="sqrt", random_state=seed)
