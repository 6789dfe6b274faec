"""The keys of RAID, and what its paper sets them to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_aia.config.keys import Choice, Count, Flag, Key, Number
from recbole_aia.trainer.chance import CALIBRATE

KEYS: Mapping[str, Key] = {
    "multi": Choice(
        "joint",
        "Several attributes: all at once (joint), or one after another (sequential).",
        choices=("joint", "sequential"),
    ),
    "calibrate": CALIBRATE,
    "raid_eta": Number(
        1.0, "Weight of the defensive loss against the recommendation loss (eq. 12); 0 is table 4 without L_D.", low=0
    ),
    "raid_recommendation": Flag(
        True, "False leaves the recommendation loss out of Phase II (table 4 without L_P): users only collapse."
    ),
    "raid_tau": Number(1.0, "Entropy penalty on the barycenter's weights; larger is flatter.", low=0),
    "raid_atoms": Count(256, "Support points of the barycenter.", low=2),
    "raid_support": Choice(
        "moving",
        "Support points: fixed (the paper's), a sample of users as they are at each refresh, of which only the weights "
        "are solved for; moving, which takes the points to where the classes' couplings send them (three rounds, later "
        "one). Moving points lie closer together, so that users end closer together.",
        choices=("moving", "fixed"),
    ),
    "raid_phase1_epochs": Count(
        None,
        "Undefended epochs at the start (the paper's E1). ~: all but a fifth of epochs. Phase II teaches the "
        "recommender little, so it should be trained by then.",
    ),
    "raid_refresh_epochs": Count(4, "Epochs between two barycenters (the paper's xi).", low=1),
    "raid_first_refresh": Choice(
        "start",
        "The first barycenter: start (before the first epoch of Phase II), or interval (the paper's line 8: before the "
        "epoch number raid_refresh_epochs; earlier epochs of Phase II have no defensive loss).",
        choices=("start", "interval"),
    ),
    "raid_couplings": Choice(
        "refresh",
        "When couplings are solved: step (the paper's line 11), anew in each step for its users; refresh, with the "
        "barycenter for all users, who keep their targets until the next. step takes much longer, and the marginals "
        "hold in each step's users.",
        choices=("refresh", "step"),
    ),
    "raid_coupling": Choice(
        "auto",
        "How they are solved: kl_projection (the paper's), which splits users over atoms and so pulls them closer "
        "together; semi_dual, an atom a user; exact; or auto: exact up to 10,000 users (on a GPU: 1,000), semi_dual "
        "above.",
        choices=("auto", "kl_projection", "semi_dual", "exact"),
    ),
    "raid_epsilon": Number(0.05, "Entropy of kl_projection's coupling relative to the mean cost.", low=0, above=True),
    "raid_batch_users": Count(
        1024, "Most users in the defensive loss of a step; drawn at random if there are more (Lemma 2 has all).", low=2
    ),
}

# Algorithm 1, section 5.1 and appendix B.2; epochs is the paper's E1 + E2.
_LETTER: Mapping[str, Any] = {
    "raid_eta": 1.0,
    "raid_tau": 1.0,
    "raid_phase1_epochs": 5,
    "epochs": 20,
    "raid_refresh_epochs": 4,
    "raid_first_refresh": "interval",
    "raid_support": "fixed",
    "raid_couplings": "step",
    "raid_coupling": "kl_projection",
    "rec_loss": "bce",
    "init_std": 0.01,
    "embedding_size": 32,
    "mf_embedding_size": 32,
    "mlp_embedding_size": 32,
    "train_neg_sample_args": {
        "distribution": "uniform", "sample_num": 4, "alpha": 1.0, "dynamic": False, "candidate_num": 0
    },
    "user_embedding_size": 32,
    "item_embedding_size": 32,
    "user_hidden_size_list": [64, 32],
    "item_hidden_size_list": [64, 32],
}  # fmt: skip

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {**_LETTER, "learner": "sgd", "learning_rate": 1e-4},
    # SGD at 1e-4 barely trains with mini-batches.
    "paper-adam": {**_LETTER, "learner": "adam", "learning_rate": 1e-3},
}

# The paper gives 5 + 15 epochs, and 10 for DMF, 20 for NCF, 200 for LightGCN. We read that Phase I has 5 of them.
PRESETS_BY_MODEL: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    name: {"DMF": {"epochs": 10}, "LightGCN": {"epochs": 200}} for name in PRESETS
}
