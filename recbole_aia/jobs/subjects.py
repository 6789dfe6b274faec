"""Reads and checks the subject of an audit: embeddings of any system, a run of ours, or a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.config.keys import check_values
from recbole_aia.config.registry import known_keys
from recbole_aia.config.text import parse_arguments, parse_value, read_yaml
from recbole_aia.data import LabelTable, interactions_by_user, load_labels, read_labels
from recbole_aia.data.label_files import match_rows, read_label_file, tabled_labels
from recbole_aia.data.large import drawn, is_large
from recbole_aia.data.matrices import Drawn, Matrix, read_matrix
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.evaluator import AttributeInferenceEvaluator
from recbole_aia.jobs.informed import Earlier, read_earlier
from recbole_aia.jobs.loading import exposures, load_run
from recbole_aia.model.exposures import OF_VECTORS, exposure_names, needs_model, user_vectors, vector_exposures
from recbole_aia.storage.checkpoints import checkpoint_file
from recbole_aia.storage.run_folder import ACTIVITY, read_activity
from recbole_aia.trainer import stage_of


@dataclass(frozen=True)
class Subject:
    """The subject of an audit, read and checked.

    Attributes:
        kind: ``embeddings``, ``run`` or ``checkpoint``.
        path: the file that holds the embeddings.
        name: the name that the results folder gets.
        views: embeddings by view, ``[n_users, d]`` each.
        labels: the users' labels, in the same order.
        evaluator: the evaluator with its attackers.
        run: model, dataset, defense, stage, seed and device, as in results.json.
        data: facts about the data besides users and attributes, as in results.json.
        source: the name of the file of labels.
        notes: lines that a reader of the table has to know.
        passed_over: each column of labels that cannot be attacked, with the reason.
        tokens: the users' names, ``[n_users]``; ``None`` if unknown.
        drawn: which rows of the file these users are; ``None`` for all.
        activity: number of interactions of each user, ``[n_users]``; ``None`` if unknown.
        earlier: what was released of these users before; ``None`` if nothing is known of it.
        no_labels_out: whether no file may hold true labels.
    """

    kind: str
    path: Path
    name: str
    views: dict[str, Any]
    labels: LabelTable
    evaluator: AttributeInferenceEvaluator
    run: dict[str, Any]
    data: dict[str, Any]
    source: str
    notes: tuple[str, ...] = ()
    passed_over: tuple[tuple[str, str], ...] = ()
    tokens: Any = None
    drawn: Drawn | None = None
    activity: Any = None
    earlier: Earlier | None = None
    no_labels_out: bool = False

    @property
    def state(self) -> str:
        """``defended`` if the subject is known to have a defense, else ``undefended``."""
        return "undefended" if self.run["defense"] == "none" else "defended"

    @property
    def n_users(self) -> int:
        """Number of users, which are the rows of every view."""
        return len(next(iter(self.views.values())))

    @property
    def released(self) -> Any:
        """The vectors that a next release compares with, ``[n_users, d]``; ``None`` if these are not audited."""
        return self.views.get("served", self.views.get("given"))


def with_earlier(subject: Subject, files: Sequence[Path]) -> Subject:
    """The subject with what was released before; see :func:`~recbole_aia.jobs.informed.read_earlier`.

    Raises:
        ConfigValueError: the served vectors are not audited.
        AttributeDataError: a file cannot be used.
    """
    if subject.released is None:
        raise ConfigValueError("--before compares served vectors. Add served to attack_views.")
    return replace(subject, earlier=read_earlier(files, subject.n_users, subject.tokens, subject.drawn))


def embeddings_subject(
    path: Path, label_path: Path, config_files: Sequence[str | Path] = (), argv: Sequence[str] = ()
) -> Subject:
    """The subject of embeddings from any system, with labels from a file.

    Without ``attributes``, every column of labels with usable classes is attacked, and notes name the others.

    Args:
        path: the embeddings, see :func:`~recbole_aia.data.matrices.read_matrix`.
        label_path: the labels, see :func:`~recbole_aia.data.label_files.read_label_file`.
        config_files: YAML files with attributes, attribute_specs and attack settings; other keys are ignored.
        argv: the same settings as ``--key=value`` arguments, which win over the files.
    """
    filed: dict[str, Any] = {}
    for file in config_files:
        filed |= read_yaml(Path(file))
    given = parse_arguments(argv)
    asked: dict[str, Any] = {"dataset": label_path.name}
    for key in ("attributes", "attribute_specs", "attack_views"):
        asked[key] = given.pop(key, filed.pop(key, None))
    if isinstance(asked["attributes"], str):
        parsed = parse_value(asked["attributes"])
        asked["attributes"] = [parsed] if isinstance(parsed, str) else parsed
    asked["no_labels_out"] = given.pop("no_labels_out", filed.pop("no_labels_out", False))
    check_values(asked, known_keys())
    evaluator = AttributeInferenceEvaluator(filed, **given)
    matrix, seed = read_matrix(path), evaluator.settings.seed
    if is_large(matrix):
        n_users = len(next(iter(matrix.views.values())))
        matrix, label_file = drawn(matrix, label_path, path.name, seed, asked)
        few = f"{len(label_file.frame):,} of {n_users:,} users were drawn (seed {seed}) and are attacked"
    else:
        label_file, few = read_label_file(label_path), ""
    views, said = _file_views(path, matrix, asked["attack_views"])
    rows, frame = match_rows(matrix, label_file, (path.name, label_path.name))
    labels, passed_over = tabled_labels(frame, rows, len(next(iter(matrix.views.values()))) + 1, asked)
    notes = [*filter(None, [few]), *said, *(f"{name} is not audited: {reason}" for name, reason in passed_over)]
    if matrix.tokens is None:
        notes.append(f"no user tokens in {path.name}: its row i was taken for line i of {label_path.name}")
    run = {"model": path.name, "dataset": label_path.name, "seed": seed}
    run |= {"defense": "none", "stage": "none", "device": evaluator.settings.device}
    return Subject(
        "embeddings", path, path.stem, views, labels, evaluator, run, {}, label_path.name,
        tuple(notes), tuple(passed_over), matrix.tokens, matrix.drawn, matrix.activity,
        no_labels_out=asked["no_labels_out"],
    )  # fmt: skip


def run_subject(folder: Path, config_files: Sequence[str | Path] = (), argv: Sequence[str] = ()) -> Subject:
    """The subject of a run's folder: vectors from embeddings.npz, labels as config.yaml says.

    If ``attack_views`` asks for more than vectors, the run's checkpoint is audited instead.
    """
    path, written = folder / "embeddings.npz", folder / "config.yaml"
    missing = next((file for file in (path, written) if not file.is_file()), None)
    if missing is not None:
        hint = " (a file? Use --checkpoint, or --embeddings with --labels)" if folder.is_file() else ""
        raise ConfigValueError(f"'{folder}' is not a run's folder: there is no '{missing.name}' in it{hint}.")
    config = AIAConfig(config_file_list=[written, *config_files], argv=argv)
    names = exposure_names(config["attack_views"], ("served", "table"))
    if needs_model(names):
        subject = checkpoint_subject(folder / "checkpoint.pth", False, [written, *config_files], argv)
        return replace(subject, kind="run")
    matrix = read_matrix(path)
    if matrix.tokens is None:
        raise AttributeDataError(f"'{path}' has no user_tokens. Audit it with --embeddings and --labels.")
    ids = {str(token): row for row, token in enumerate(matrix.tokens, start=1)}
    users = Path(config["data_path"]) / f"{config['dataset']}.user"
    labels = read_labels(config, users, ids, len(ids) + 1)
    views, notes = vector_exposures(names, matrix.views["served"], matrix.views.get("table"))
    subject = _configured("run", path, folder.resolve().name, views, labels, config, {}, notes)
    # Folders of 0.1.0 have the activity in embeddings.npz itself.
    activity = read_activity(folder / ACTIVITY, matrix.tokens) if matrix.activity is None else matrix.activity
    return replace(subject, tokens=matrix.tokens, activity=activity)


def checkpoint_subject(
    path: Path, trust_checkpoint: bool = False, config_files: Sequence[str | Path] = (), argv: Sequence[str] = ()
) -> Subject:
    """The subject of a checkpoint, whose model gives the views; see :func:`~recbole_aia.jobs.loading.load_run`."""
    path = checkpoint_file(path)
    loaded = load_run(path, trust_checkpoint=trust_checkpoint, config_file_list=config_files, argv=argv)
    config, dataset, model, training = loaded
    names, labels = exposure_names(config["attack_views"], ("served", "table")), load_labels(config, dataset)
    views, notes = exposures(names, config, *user_vectors(model), lambda: (model, training))
    name = path.resolve().parent.name if path.stem == "checkpoint" else path.stem
    data = {"n_items": dataset.item_num - 1, "n_interactions": dataset.inter_num}
    subject = _configured("checkpoint", path, name, views, labels, config, data, notes)
    tokens = dataset.field2id_token[dataset.uid_field][1:].astype(str)
    return replace(subject, tokens=tokens, activity=interactions_by_user(dataset))


def _configured(
    kind: str, path: Path, name: str, views: dict[str, Any], labels: LabelTable, config: AIAConfig,
    data: dict[str, Any], notes: Sequence[str],
) -> Subject:  # fmt: skip
    """Makes a subject that has a configuration of ours."""
    defense = config["defense"]
    run = {"model": config["model"], "dataset": config["dataset"], "defense": defense, "seed": config["seed"]}
    run |= {"stage": stage_of(config), "device": str(config["device"])}
    evaluator = AttributeInferenceEvaluator(config)
    return Subject(
        kind, path, name, views, labels, evaluator, run, data, f"{config['dataset']}.user", tuple(notes),
        no_labels_out=config["no_labels_out"],
    )  # fmt: skip


def _file_views(path: Path, matrix: Matrix, asked: Any) -> tuple[dict[str, Any], list[str]]:
    """The views of a file of embeddings that ``asked`` names, and notes."""
    if asked is None and "served" not in matrix.views:
        return matrix.views, []
    names = exposure_names(asked, tuple(matrix.views))
    missing = [name for name in names if name not in OF_VECTORS or "served" not in matrix.views]
    if missing:
        raise ConfigValueError(
            f"attack_views names {missing[0]}, and {path.name} holds vectors only ({', '.join(matrix.views)}). "
            "Leave attack_views out, or audit a RUN or a --checkpoint, which have the model."
        )
    return vector_exposures(names, matrix.views["served"], matrix.views.get("table"))
