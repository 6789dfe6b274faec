"""The main job as a function, as RecBole's ``quick_start`` has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.jobs.run import run


def run_recbole_aia(
    model: Any = None,
    dataset: str | None = None,
    config_file_list: Sequence[str | Path] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    argv: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Trains a recommender with and without a defense, attacks both, prints the table and keeps the results.

    Args:
        model: model name or class.
        dataset: dataset name; ml-100k, which RecBole carries, where none is given anywhere.
        config_file_list: YAML files.
        config_dict: values by key.
        argv: ``--key=value`` arguments; ``None`` takes the command line, as RecBole does.

    Returns:
        RecBole's ``best_valid_score``, ``valid_score_bigger``, ``best_valid_result`` and ``test_result`` of the
        final state, and ``aia``: the content of results.json.

    Raises:
        AIAError: whatever the user can mend.
    """
    return run(AIAConfig(model, dataset, config_file_list, config_dict, argv))
