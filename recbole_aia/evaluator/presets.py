"""The protocols: which attackers, and how many folds and repeats."""

from __future__ import annotations

from typing import NamedTuple


class Preset(NamedTuple):
    """The settings of a protocol. Hyper-parameters, scaling and balancing belong to its attackers."""

    attackers: tuple[str, ...]
    attack_folds: int
    attack_repeats: int
    attack_balance: str = "none"


PRESETS: dict[str, Preset] = {
    "default": Preset(("logistic", "mlp_raid", "mlp", "xgboost"), 5, 2),
    # RAID (Feng et al., 2025), section 5.1 (80/20, five folds), appendix B.2, tables 6 to 8. Its text says five runs of
    # the folds. Its numbers say three, on users with equally many of each class: binary F1 of an attacker who answers
    # one class is 2/3 or 0 in a fold, and .2222, .2667, .3111 and .4444 are 5, 6, 7 and 10 of 15 folds at 2/3.
    "raid": Preset(
        (
            "mlp_raid",
            "mlp_raid_1",
            "mlp_raid_3",
            "mlp_raid_4",
            "decision_tree_raid",
            "svm_raid",
            "naive_bayes_raid",
            "knn_raid",
            "random_forest_raid",
            "adaboost_raid",
            "xgboost_raid",
            "gradient_boosting_raid",
        ),
        5,
        3,
        "undersample",
    ),
    # AttrCloak names its attackers and none of their settings: RAID's network and XGBoost's defaults stand in. Its
    # accuracy is plain: 0.228 to 0.245 for occupation, whose largest class holds 0.208 of the users.
    "attrcloak": Preset(("mlp_raid", "xgboost_raid"), 5, 5),
    "oktton": Preset(("mlp_oktton", "xgboost_oktton"), 5, 3),
    # Ours: scaled, classes equal, tuned among the training users where that helps, every kind of attacker.
    "strict": Preset(
        (
            "logistic_tuned",
            "mlp_tuned",
            "quadratic",
            "svm",
            "naive_bayes",
            "knn",
            "decision_tree",
            "random_forest",
            "adaboost",
            "gradient_boosting",
            "xgboost_tuned",
            "ensemble",
            "flip_aware",
        ),
        5,
        2,
    ),
    # Ours: of each kind one that answers soon, since each attacks several views; see recbole_aia.evaluator.informed.
    "informed": Preset(("logistic_tuned", "quadratic", "svm", "mlp", "xgboost"), 5, 2),
}
