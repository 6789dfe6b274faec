"""Audits of what is already there: any system's embeddings, a run of ours, or a checkpoint."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_aia.config import PRESENTATION_KEYS, AIAConfig
from recbole_aia.data import LabelTable, load_labels, read_labels
from recbole_aia.data.label_files import match_rows, read_label_file, tabled_labels
from recbole_aia.data.matrices import Matrix, read_matrix
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.evaluator import AttackReport, AttributeInferenceEvaluator
from recbole_aia.keys import check_values
from recbole_aia.model import UserEmbeddingView
from recbole_aia.report import SCHEMA, write_results
from recbole_aia.runs import load_run, make_folder, versions
from recbole_aia.text import parse_arguments, parse_value, read_yaml


@dataclass(frozen=True)
class Subject:
    """What is audited, read and checked.

    Attributes:
        kind: ``embeddings``, ``run`` or ``checkpoint``.
        path: the file that holds the embeddings.
        name: what results folders are called after.
        views: embeddings by view, ``[n_users, d]`` each.
        labels: the users' labels, in the same order.
        evaluator: the attackers.
        run: model, dataset, defense, stage, seed and device, as in results.json.
        data: what is known of the data besides users and attributes.
        source: where the labels are from.
        notes: what whoever reads the table has to know.
        passed_over: columns of labels that cannot be attacked as they are, and why.
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

    @property
    def state(self) -> str:
        """``defended`` where a defense is known of, else ``undefended``."""
        return "undefended" if self.run["defense"] == "none" else "defended"


def embeddings_subject(
    path: Path, label_path: Path, config_files: Sequence[str | Path] = (), argv: Sequence[str] = ()
) -> Subject:
    """Any system's embeddings with labels from a file.

    Without ``attributes``, every column of labels that can be attacked is; the others are noted.

    Args:
        path: see :func:`~recbole_aia.data.matrices.read_matrix`.
        label_path: see :func:`~recbole_aia.data.label_files.read_label_file`.
        config_files: YAML files with attributes, attribute_specs and attack settings; other keys are left alone.
        argv: the same as ``--key=value``, which win.
    """
    filed: dict[str, Any] = {}
    for file in config_files:
        filed |= read_yaml(Path(file))
    given = parse_arguments(argv)
    asked: dict[str, Any] = {"dataset": label_path.name}
    for key in ("attributes", "attribute_specs"):
        asked[key] = given.pop(key, filed.pop(key, None))
    if isinstance(asked["attributes"], str):
        parsed = parse_value(asked["attributes"])
        asked["attributes"] = [parsed] if isinstance(parsed, str) else parsed
    check_values(asked)
    evaluator = AttributeInferenceEvaluator(filed, **given)
    matrix, label_file = read_matrix(path), read_label_file(label_path)
    rows, frame = match_rows(matrix, label_file, (path.name, label_path.name))
    labels, passed_over = tabled_labels(frame, rows, len(_first(matrix)) + 1, asked)
    notes = [f"{name} is not audited: {reason}" for name, reason in passed_over]
    if matrix.tokens is None:
        notes.append(f"no user tokens in {path.name}: its row i was taken for line i of {label_path.name}")
    run = {"model": path.name, "dataset": label_path.name, "seed": evaluator.settings.seed}
    run |= {"defense": "none", "stage": "none", "device": "cpu"}
    return Subject(
        "embeddings", path, path.stem, matrix.views, labels, evaluator, run, {}, label_path.name,
        tuple(notes), tuple(passed_over),
    )  # fmt: skip


def run_subject(folder: Path, config_files: Sequence[str | Path] = (), argv: Sequence[str] = ()) -> Subject:
    """A run's folder: the vectors in its embeddings.npz, labels by its config.yaml. Nothing is trained or scored."""
    path, written = folder / "embeddings.npz", folder / "config.yaml"
    missing = next((file for file in (path, written) if not file.is_file()), None)
    if missing is not None:
        hint = " (a file? Use --checkpoint, or --embeddings with --labels)" if folder.is_file() else ""
        raise ConfigValueError(f"'{folder}' is not a run's folder: there is no '{missing.name}' in it{hint}.")
    config = AIAConfig(config_file_list=[written, *config_files], argv=argv)
    matrix = read_matrix(path)
    if matrix.tokens is None:
        raise AttributeDataError(f"'{path}' has no user_tokens. Audit it with --embeddings and --labels.")
    ids = {str(token): row for row, token in enumerate(matrix.tokens, start=1)}
    users = Path(config["data_path"]) / f"{config['dataset']}.user"
    labels = read_labels(config, users, ids, len(ids) + 1)
    name = folder.resolve().name
    return _configured("run", path, name, matrix.views, labels, config, {})


def checkpoint_subject(
    path: Path, trust_checkpoint: bool = False, config_files: Sequence[str | Path] = (), argv: Sequence[str] = ()
) -> Subject:
    """A checkpoint: its model is built again, and gives both views; see :func:`~recbole_aia.runs.load_run`."""
    config, dataset, model = load_run(path, trust_checkpoint=trust_checkpoint, config_file_list=config_files, argv=argv)
    labels = load_labels(config, dataset)
    with torch.no_grad():
        view = UserEmbeddingView(model)
        both = {"served": view.served(), "table": view.table()}
    views = {name: vectors.cpu().numpy() for name, vectors in both.items() if vectors is not None}
    name = path.resolve().parent.name if path.stem == "checkpoint" else path.stem
    data = {"n_items": dataset.item_num - 1, "n_interactions": dataset.inter_num}
    return _configured("checkpoint", path, name, views, labels, config, data)


def audit(subject: Subject, output_dir: str | Path | None = None, fail_above: float | None = None) -> dict[str, Any]:
    """Attacks a subject, prints the table and keeps results.json.

    Args:
        subject: what to audit.
        output_dir: where results.json goes; ``runs/audit-<name>-<hash>`` where ``None``. Only an earlier audit of the
            same file is overwritten there.
        fail_above: the limit of a gate, kept with the results; :func:`failures` reads them against it.

    Returns:
        The content of results.json.

    Raises:
        ConfigValueError: a limit outside of 0 to 1, a folder that holds something else, or a gate that would not
            guard every column.
        AttributeDataError: embeddings or labels that cannot be attacked.
    """
    if fail_above is not None and not 0 <= fail_above < 1:
        raise ConfigValueError(f"--fail_above is {fail_above:g}. It must be from 0 to below 1, such as 0.1.")
    if fail_above is not None and subject.passed_over:
        name, reason = subject.passed_over[0]
        raise ConfigValueError(f"name what the gate guards (--attributes=[...]): {name} cannot be. {reason}")
    subject = _without_repeated_views(subject)
    evaluator, labels = subject.evaluator, subject.labels
    evaluator.targets(labels.columns(), len(_first(subject)), labels.classes)
    for name, vectors in subject.views.items():
        _refuse_non_finite(name, vectors)
    sha256 = _sha256(subject.path)
    folder = _folder(subject, sha256, output_dir)
    start = time.perf_counter()
    report = AttackReport.concat(
        evaluator.evaluate(vectors, labels.columns(), class_names=labels.classes, state=subject.state, view=name)
        for name, vectors in subject.views.items()
    )
    seconds = {"attack": time.perf_counter() - start}
    results = {
        "schema": SCHEMA,
        "run": {**subject.run, "attributes": list(labels.names), "versions": versions(), "seconds": seconds},
        "audit": {
            "kind": subject.kind,
            "path": str(subject.path),
            "sha256": sha256,
            "labels": subject.source,
            "absent": labels.absent,
            "fail_above": fail_above,
            "notes": list(subject.notes),
        },
        "data": {"n_users": len(_first(subject)), **subject.data, "attributes": labels.summary()},
        "attacks": report.rows,
        "worst_case": _worst_cases(report),
    }
    write_results(results, folder / "results.json")
    print(f"{_heading(subject)}\n\n{report}\n")
    for note in subject.notes:
        print(f"note: {note}")
    print(f"results in {folder}/")
    return results


def failures(results: dict[str, Any], limit: float) -> list[str]:
    """What exceeds a limit on the worst-case advantage, an attribute each; empty where nothing does."""
    return [
        f"{attribute} {worst['advantage']:.3f} ({worst['attacker']} on the {worst['view']} embeddings)"
        for attribute, states in results["worst_case"].items()
        for worst in states.values()
        if worst["advantage"] > limit
    ]


def _configured(
    kind: str, path: Path, name: str, views: dict[str, Any], labels: LabelTable, config: AIAConfig, data: dict[str, Any]
) -> Subject:
    """A subject that has a configuration of ours."""
    defense = config["defense"]
    run = {"model": config["model"], "dataset": config["dataset"], "defense": defense, "seed": config["seed"]}
    run |= {"stage": "none" if defense == "none" else "in", "device": str(config["device"])}
    evaluator = AttributeInferenceEvaluator(config)
    return Subject(kind, path, name, views, labels, evaluator, run, data, f"{config['dataset']}.user")


def _first(holder: Subject | Matrix) -> Any:
    return next(iter(holder.views.values()))


def _without_repeated_views(subject: Subject) -> Subject:
    """Where a model serves its table, one of the two is enough."""
    served, table = subject.views.get("served"), subject.views.get("table")
    if served is None or table is None or not np.array_equal(served, table):
        return subject
    note = "table is not listed: this model serves its raw parameters, so it is the same as served"
    return replace(subject, views={"served": served}, notes=(*subject.notes, note))


def _refuse_non_finite(name: str, vectors: Any) -> None:
    """Before anything is written; the evaluator says the same, later."""
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise AttributeDataError(
            f"the {name} embeddings of {len(bad)} of {len(vectors)} users are not finite (first: row {bad[0]}). "
            "Has training diverged? Drop these users, or train again."
        )


def _worst_cases(report: AttackReport) -> dict[str, dict[str, Any]]:
    worst: dict[str, dict[str, Any]] = {}
    for row in report.rows:
        cases, gain = worst.setdefault(row["attribute"], {}), row["metrics"]["advantage"]["mean"]
        if row["state"] not in cases or gain > cases[row["state"]]["advantage"]:
            cases[row["state"]] = {"attacker": row["attacker"], "view": row["view"], "advantage": gain}
    return worst


def _heading(subject: Subject) -> str:
    shapes = ", ".join(f"{name} {vectors.shape[1]}-dimensional" for name, vectors in subject.views.items())
    lines = [f"audit of {subject.path}: {len(_first(subject)):,} users, {shapes}"]
    if subject.kind == "embeddings":
        lines.append("no defense is known of, so the state is called undefended")
    else:
        run = subject.run
        lines.append(f"{run['model']} on {run['dataset']}, defense {run['defense']}")
    absent = subject.labels.absent
    lines.append(f"labels from {subject.source}: {absent:,} of its users have no embedding")
    return "\n".join(lines)


def _folder(subject: Subject, sha256: str, output_dir: str | Path | None) -> Path:
    """The folder for the results, made and writable; one that holds something else is refused."""
    settings = asdict(subject.evaluator.settings)
    kept = {key: value for key, value in settings.items() if key not in PRESENTATION_KEYS}
    digest = hashlib.sha256(json.dumps([sha256, kept, subject.labels.classes]).encode())
    digest.update(subject.labels.labels.numpy().tobytes())
    folder = Path(output_dir or Path("runs") / f"audit-{subject.name}-{digest.hexdigest()[:6]}")
    held = folder / "results.json"
    if held.exists() and _audited_path(held) != str(subject.path):
        raise ConfigValueError(f"'{folder}' holds other results. Give another --output_dir, or remove results.json.")
    make_folder(folder)
    return folder


def _audited_path(results: Path) -> str | None:
    try:
        path: str = json.loads(results.read_text(encoding="utf-8"))["audit"]["path"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return path


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
