"""The keys that every run reads, and RecBole's keys that have other defaults here."""

from __future__ import annotations

from typing import Any

from recbole_aia.config.attribute_keys import Attributes, Specifications
from recbole_aia.config.devices import DEVICE
from recbole_aia.config.keys import Choice, Flag, Key, Number, Path, Text

#: What is protected and attacked.
SUBJECT: dict[str, Key] = {
    "defense": Text("none", "none, or a defense; each has its own keys.", what="a defense"),
    "stage": Choice(
        None,
        "When the defense works: in training, or post, on the trained undefended twin. ~: the defense's default.",
        choices=("in", "post"),
    ),
    "preset": Text("default", "default, or paper: the values of the defense's paper, if it offers them."),
    "attributes": Attributes(
        None, "Attributes to protect and attack. ~: the attributes that the dataset's property file names."
    ),
    "attribute_specs": Specifications(
        None, "Attributes that the dataset offers, each with field, bins, names, classes, missing and other rules."
    ),
}

#: How a run trains, and where it writes its results.
TRAINING: dict[str, Key] = {
    "device": DEVICE,
    "fast": Flag(True, "Whether to use our versions of models and loaders: RecBole's numbers, faster.", "training"),
    "init_std": Number(
        None,
        "Standard deviation of a normal initialisation of all weights. ~: the model's own.",
        "training",
        low=0,
        above=True,
    ),
    "rec_loss": Choice(
        "native",
        "native: the model's own loss; bce: cross-entropy for every model (RAID, equation 5).",
        "training",
        choices=("native", "bce"),
    ),
    "trained_on": Text(
        None,
        "Vouches that the data are the files that a checkpoint without names was trained on: the text that the error "
        "names, such as data-0123456789ab. ~: the recorded validation score decides.",
        "presentation",
        what="the text that the error names",
    ),
    "reuse_undefended": Flag(
        True, "Whether to reuse an undefended twin that was trained with the same settings.", "presentation"
    ),
    "resume": Flag(
        False,
        "Whether only to go on with the interrupted run in output_dir. The same command goes on by itself.",
        "presentation",
    ),
    "output_dir": Path(
        None, "Where the results go. ~: runs/<model>-<dataset>-<defense>-seed<seed>-<hash>.", "presentation"
    ),
    "no_labels_out": Flag(
        False, "Whether to write no file with true labels of users; there is no users.csv then.", "presentation"
    ),
}

#: RecBole's keys with other defaults than RecBole's.
RECBOLE_DEFAULTS: dict[str, Any] = {
    "metrics": ["Hit", "NDCG", "Recall", "MRR"],
    "topk": [10],
    "valid_metric": "NDCG@10",
    "metric_decimal_place": 6,
    "save_dataset": False,
}

#: The same with a protocol that follows a paper: the metrics of recommendation that the paper prints.
RECBOLE_DEFAULTS_OF_PROTOCOL: dict[str, dict[str, Any]] = {
    "raid": {"topk": [5, 10, 15, 20]},
    # Its HR falls from @5 to @10, as precision does and a hit ratio cannot.
    "attrcloak": {"topk": [5, 10], "metrics": ["Hit", "NDCG", "Recall", "MRR", "Precision"]},
}

#: RecBole's keys that decide how a run is shown or stored, and none of its numbers.
RECBOLE_PRESENTATION = frozenset(
    {
        "checkpoint_dir", "show_progress", "state", "log_wandb", "wandb_project", "gpu_id", "use_gpu",
        "save_dataset", "save_dataloaders", "dataset_save_path", "dataloaders_save_path", "config_files", "data_path",
        "worker",
    }
)  # fmt: skip

#: Keys of a run that is one of many, whose bar and log would hide the others'.
ONE_OF_MANY: dict[str, Any] = {"show_progress": False, "state": "warning"}

#: The views of a model that can be attacked, in the order of attack; see :mod:`recbole_aia.model.exposures`.
VIEWS = ("served", "table", "both", "top_k", "top_k_unmasked", "top_k_popular", "scores", "profile")
#: The view that no defense changes: the interactions. It shows how much there is to infer, and is no leak of the model.
CEILING = "profile"
#: Recommendation lists, and lists of the most popular items with the same items left out: what the mask alone shows.
LISTS, MASK = "top_k", "top_k_popular"
#: Views that no defense changes. They are attacked once, before a defense, and count in no worst case.
REFERENCES = frozenset({MASK, CEILING})
