"""The job ``audit``: attacks an existing model or existing embeddings, prints the table and keeps the results."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from recbole_aia.config.registry import presentation_keys
from recbole_aia.config.run_keys import REFERENCES
from recbole_aia.data.matrices import Drawn
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.evaluator import AttackReport
from recbole_aia.jobs.informed import informed_audit
from recbole_aia.jobs.results import findings
from recbole_aia.jobs.subjects import Subject
from recbole_aia.report import PAGE, SCHEMA, informed_verdict, verdict, worst_cases, write_results, write_users
from recbole_aia.report.worst import list_cases
from recbole_aia.storage.files import sha256_of
from recbole_aia.storage.progress import check_interrupted, job_digest, progress
from recbole_aia.storage.run_folder import check_free, make_folder, versions

_FILES = ("results.json", PAGE, "users.csv")


def audit(subject: Subject, output_dir: str | Path | None = None, fail_above: float | None = None) -> dict[str, Any]:
    """Attacks a subject, prints the table and keeps results.json and users.csv.

    Args:
        subject: what to audit.
        output_dir: the folder for both files; ``None`` means ``runs/audit-<name>-<hash>``. An earlier audit of the same
            file is overwritten there; other files are not.
        fail_above: the limit of a gate. It is kept with the results; :func:`failures` compares them with it.

    Returns:
        The content of results.json.

    Raises:
        ConfigValueError: the limit is outside of 0 to 1, the folder holds another audit or run, or the gate could not
            guard every column.
        AttributeDataError: the embeddings or labels cannot be attacked.
    """
    if fail_above is not None and not 0 <= fail_above < 1:
        raise ConfigValueError(f"--fail_above is {fail_above:g}. It must be from 0 to below 1, such as 0.1.")
    subject = _noted(_without_hopeless_attributes(subject))
    if fail_above is not None and subject.passed_over:
        name, reason = subject.passed_over[0]
        raise ConfigValueError(f"name what the gate guards (--attributes=[...]): {name} cannot be. {reason}")
    if fail_above is not None and REFERENCES.issuperset(subject.views):
        names = " and ".join(subject.views)
        raise ConfigValueError(f"--fail_above does not guard the {names}, a reference. Add a view to attack_views.")
    labels = subject.labels
    columns = {name: labels.columns()[name] for name in labels.names if name not in dict(subject.passed_over)}
    for name, vectors in subject.views.items():
        _refuse_non_finite(name, vectors, subject.drawn)
    _check_earlier(subject, columns, fail_above)
    sha256 = sha256_of(subject.path)
    folder, settings = _folder(subject, sha256, output_dir)
    with progress(folder, settings, job_digest(versions=versions())) as kept:
        subject.evaluator.kept = kept.answers()
        results, report = _attacked(subject, columns, sha256, fail_above)
        write_results(results, folder / "results.json")
        rows = None if subject.drawn is None else subject.drawn.rows
        users = report.users(rows if subject.tokens is None else subject.tokens, subject.activity)
        write_users(users, folder / "users.csv", no_labels_out=subject.no_labels_out)
    print(f"{_heading(subject)}\n\n{report}\n")
    if len(subject.views) > 1:
        print(f"{verdict(results)}\n")
    if "informed" in results:
        print(f"{informed_verdict(results)}\n")
    for note in subject.notes:
        print(f"note: {note}")
    secret = "" if subject.no_labels_out else "; its users.csv holds names and classes, keep it as you keep the labels"
    print(f"results in {folder}/{secret}")
    return results


def _attacked(
    subject: Subject, columns: dict[str, Any], sha256: str, fail_above: float | None
) -> tuple[dict[str, Any], AttackReport]:
    """Attacks a subject; returns the content of results.json, and the report."""
    evaluator, labels, start = subject.evaluator, subject.labels, time.perf_counter()
    seen = [(subject.state, name, vectors) for name, vectors in subject.views.items()]
    report = evaluator.evaluate_views(seen, columns, class_names=labels.classes)
    seconds = {"attack": time.perf_counter() - start}
    start = time.perf_counter()
    informed = _informed(subject, columns)
    seconds |= {"informed": time.perf_counter() - start} if informed else {}
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
            "before": [{"path": str(file), "sha256": sha256_of(file)} for file in _files_before(subject)],
            "notes": list(subject.notes),
        },
        "data": {"n_users": subject.n_users, **subject.data, "attributes": labels.summary()},
        "attacks": report.rows,
        "worst_case": worst_cases(report),
        **list_cases(report),
        **findings(report, subject.activity),
        "densities": report.densities(),
        **({"informed": informed} if informed else {}),
    }
    return results, report


def failures(results: dict[str, Any], limit: float) -> list[str]:
    """A text for each attribute and state whose worst-case advantage exceeds a limit; empty if none does.

    What earlier releases or activity add to what they tell alone is held to the same limit.
    """
    found = [
        f"{attribute} {worst['advantage']:.3f} ({worst['attacker']} on {worst['view']})"
        for attribute, states in results["worst_case"].items()
        for worst in states.values()
        if worst["advantage"] > limit
    ]
    for attribute, cases in results.get("informed", {"attributes": {}})["attributes"].items():
        added = {
            "the old vectors": cases.get("beyond_old", 0),
            "activity": cases.get("activity", {"beyond": 0})["beyond"],
        }
        found += [f"{attribute} {gain:.3f} beyond {known}" for known, gain in added.items() if gain > limit]
    return found


def _informed(subject: Subject, columns: dict[str, Any]) -> dict[str, Any] | None:
    """The content of ``informed``; ``None`` where neither earlier releases nor ``protocol: informed`` ask for it."""
    asked = subject.evaluator.settings.protocol == "informed" and subject.activity is not None
    if subject.released is None or not (asked or subject.earlier):
        return None
    return informed_audit(
        subject.evaluator,
        subject.released,
        columns,
        subject.labels.classes,
        earlier=subject.earlier,
        activity=subject.activity,
        state=subject.state,
    )


def _check_earlier(subject: Subject, columns: dict[str, Any], fail_above: float | None) -> None:
    """Raises if the users whom every earlier release has are too few, before anything is written."""
    if subject.earlier is None:
        return
    rows = subject.earlier.rows
    common = {name: column[rows] for name, column in columns.items()}
    _, skipped = subject.evaluator.attacked_attributes(common, len(rows), subject.labels.classes)
    if skipped and fail_above is not None:
        name, reason = next(iter(skipped.items()))
        raise ConfigValueError(f"the gate cannot guard {name} among the users of earlier releases. {reason}")


def _files_before(subject: Subject) -> list[Path]:
    return [] if subject.earlier is None else subject.earlier.files


def _without_hopeless_attributes(subject: Subject) -> Subject:
    """The subject without attributes that have fewer than two usable classes; a note says which and why."""
    labels = subject.labels
    _, skipped = subject.evaluator.attacked_attributes(labels.columns(), subject.n_users, labels.classes)
    notes = tuple(f"{name} is not audited: {reason}" for name, reason in skipped.items())
    notes += tuple(labels.remarks())
    return replace(subject, passed_over=(*subject.passed_over, *skipped.items()), notes=(*subject.notes, *notes))


def _noted(subject: Subject) -> Subject:
    """The subject with a note where ``protocol: informed`` has nothing to inform its attackers with."""
    if subject.evaluator.settings.protocol != "informed" or subject.earlier or subject.activity is not None:
        return subject
    note = "neither earlier releases (--before) nor the users' activity are known: the vectors alone were attacked"
    return replace(subject, notes=(*subject.notes, note))


def _refuse_non_finite(name: str, vectors: Any, drawn: Drawn | None) -> None:
    """Raises if vectors are not finite, before anything is written; the evaluator would raise later."""
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        first = bad[0] if drawn is None else drawn.rows[bad[0]]
        raise AttributeDataError(
            f"the {name} embeddings of {len(bad)} of {len(vectors)} users are not finite (first: row {first}). "
            "Has training diverged? Drop these users, or train again."
        )


def _heading(subject: Subject) -> str:
    shapes = ", ".join(f"{name} {vectors.shape[1]}-dimensional" for name, vectors in subject.views.items())
    lines = [f"audit of {subject.path}: {subject.n_users:,} users, {shapes}"]
    if subject.kind == "embeddings":
        lines.append("no defense is known of, so the state is called undefended")
    else:
        run = subject.run
        lines.append(f"{run['model']} on {run['dataset']}, defense {run['defense']}")
    absent = subject.labels.absent
    lines.append(f"labels from {subject.source}: {absent:,} of its users have no embedding")
    return "\n".join(lines)


def _folder(subject: Subject, sha256: str, output_dir: str | Path | None) -> tuple[Path, str]:
    """Makes the folder for the results, and gives a digest of what is audited and how.

    A folder that holds an audit of another file, or a run, is refused.
    """
    settings = asdict(subject.evaluator.settings)
    shown = presentation_keys()
    kept = {key: value for key, value in settings.items() if key not in shown}
    digest = hashlib.sha256(json.dumps([sha256, kept, list(subject.views), subject.labels.classes]).encode())
    for file in _files_before(subject):
        digest.update(sha256_of(file).encode())
    digest.update(subject.labels.labels.numpy().tobytes())
    folder = Path(output_dir or Path("runs") / f"audit-{subject.name}-{digest.hexdigest()[:6]}")
    asked = digest.hexdigest()
    if not check_interrupted(folder, asked) and _audited_path(folder / "results.json") != subject.path.resolve():
        check_free(folder, _FILES)
    make_folder(folder)
    return folder, asked


def _audited_path(results: Path) -> Path | None:
    try:
        return Path(json.loads(results.read_text(encoding="utf-8"))["audit"]["path"]).resolve()
    except (OSError, ValueError, KeyError, TypeError):
        return None
