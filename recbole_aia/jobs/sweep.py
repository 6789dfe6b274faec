"""The job ``sweep``: searches the keys of a defense for the best recommendations within a bound of what leaks."""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm  # type: ignore[import-untyped]

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.config.run_keys import ONE_OF_MANY
from recbole_aia.config.search import Sweep
from recbole_aia.config.text import to_yaml
from recbole_aia.errors import AIAError, AttributeDataError, ConfigValueError, StorageError, one_line
from recbole_aia.jobs.audit import audit
from recbole_aia.jobs.run import checked, run
from recbole_aia.jobs.study import next_trial, open_study, tried
from recbole_aia.jobs.subjects import run_subject
from recbole_aia.report.page.sweep import sweep_page
from recbole_aia.report.results import PAGE
from recbole_aia.report.swept import FAILED, FINISHED, PRUNED, Confirmed, Swept, Tried, write_swept
from recbole_aia.storage.files import write_whole
from recbole_aia.storage.progress import progress
from recbole_aia.storage.run_folder import (
    check_free,
    config_digest,
    config_text,
    kept_place,
    kept_results,
    make_folder,
    versions,
)
from recbole_aia.trainer.run import Validated

#: The file of the trials that are over.
STUDY = "study.db"
_STATES = {TrialState.COMPLETE: FINISHED, TrialState.PRUNED: PRUNED, TrialState.FAIL: FAILED}


def sweep(plan: Sweep, runs: Path = Path("runs")) -> tuple[Swept, Path]:
    """Tries settings of a defense, and writes what was found.

    A trial is a run with the sweep's seed. It is judged by its validation metric (``valid_metric``, NDCG@10) and by the
    worst case of its attacks; test metrics choose nothing. The best trial is attacked again with other folds before
    its advantage is reported, because the least of many advantages is partly luck.

    Trials that are over are not repeated, so an interrupted sweep goes on where it stopped, and more trials can be
    added. A trial that fails is kept with its line, and does not stop the others.

    Args:
        plan: what is searched.
        runs: the folder of the runs.

    Returns:
        What was found, and the folder of its files.

    Raises:
        ConfigValueError: the settings of all runs are wrong, the folder holds another sweep, or no trial has finished.
    """
    base = AIAConfig(config_dict={**ONE_OF_MANY, **plan.settings}, argv=[])
    if not base["valid_metric_bigger"]:
        raise ConfigValueError(f"valid_metric is {base['valid_metric']}, which is better lower. Choose NDCG@10, say.")
    parts = [config_digest(config_text(base)), versions(), dict(plan.search), plan.bound]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    name = f"{base['model']}-{base['dataset']}-{base['defense']}-seed{base['seed']}-{digest[:6]}"
    folder = plan.output_dir or Path("sweep") / name
    if not (folder / STUDY).exists():
        check_free(folder, ("results.json", PAGE))
        checked(base)
    make_folder(folder)
    make_folder(folder / "trials")
    with progress(folder, digest, digest):
        study = open_study(folder / STUDY, digest)
        trials = _Trials(plan, base, folder, runs, study)
        trials.make()
        return trials.report(), folder


class _Trials:
    """The trials of a sweep."""

    def __init__(self, plan: Sweep, base: AIAConfig, folder: Path, runs: Path, study: optuna.Study) -> None:
        self.plan, self.folder, self.runs, self.study = plan, folder, runs, study
        self.metric, self.seed = str(base["valid_metric"]), int(base["seed"])
        self.about = f"{base['defense']} on {base['model']}, {base['dataset']}"

    def make(self) -> None:
        """Makes the trials that are missing."""
        done = len(tried(self.study))
        with tqdm(total=max(self.plan.trials, done), initial=done, desc="Trials", unit="trial") as bar:
            for _ in range(done, self.plan.trials):
                self._try()
                bar.update()

    def _try(self) -> None:
        trial, values = next_trial(self.study, self.plan.domains, self.seed)
        reported = set(self.study.get_trials(deepcopy=False)[trial.number].intermediate_values)

        def validated(epoch: int, score: float) -> None:
            if epoch not in reported:  # an interrupted training repeats the epochs after its last snapshot
                trial.report(score, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        def failed(reason: str) -> None:
            trial.set_user_attr("reason", one_line(reason))
            self.study.tell(trial, state=TrialState.FAIL)

        try:
            with self._log(trial.number):
                found = self._found(*self._made(trial.number, values, validated))
        except optuna.TrialPruned:
            self.study.tell(trial, state=TrialState.PRUNED)
        except StorageError:
            raise
        except AIAError as error:
            failed(str(error))
        except Exception as error:  # a mistake of ours or of a guest; its traceback is in the log
            failed(f"{type(error).__name__}: {error}")
        else:
            trial.set_user_attr("found", found)
            trial.set_constraint("bound", found["advantage"] - self.plan.bound)
            self.study.tell(trial, found["validation"])

    def _made(
        self, number: int, values: Mapping[str, Any], validated: Validated | None = None
    ) -> tuple[Path, dict[str, Any]]:
        """The folder of a trial's run and its results; the run is made if it is missing."""
        file = self.folder / "trials" / f"{number}.yaml"
        text = to_yaml({**ONE_OF_MANY, **self.plan.settings, **values})
        write_whole(file, lambda aside: aside.write_text(text, encoding="utf-8"))
        config = AIAConfig(config_file_list=[file], argv=[])
        place = kept_place(config, self.runs)
        results = kept_results(place)
        if results is None or "validation" not in results:
            config["output_dir"] = str(place)
            results = run(config, validated)["aia"]
        return place, results

    def _found(self, place: Path, results: Mapping[str, Any]) -> dict[str, Any]:
        """What a trial is judged by."""
        metric = self.metric.lower()
        before, after = (results.get("validation", {}).get(state, {}) for state in ("undefended", "defended"))
        if metric not in before or metric not in after:
            raise AttributeDataError(
                f"there is no {self.metric}, because there are no validation items. Split some off."
            )
        kept = {"kept": after[metric] / before[metric]} if before[metric] else {}
        return {"validation": after[metric], **kept, "run": str(place), **_worst(results)}

    @contextmanager
    def _log(self, number: int) -> Iterator[None]:
        """Inside, all that is printed goes to the trial's log, with the traceback of what is raised."""
        file = self.folder / "trials" / f"{number}.log"
        with file.open("a", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
            try:
                yield
            except Exception:
                traceback.print_exc()
                raise

    def report(self) -> Swept:
        """Attacks the best trial again, and writes the files."""
        trials = [self._tried(trial) for trial in tried(self.study)]
        swept = Swept(self.about, self.metric, self.plan.bound, list(self.plan.domains), trials)
        if not swept.finished:
            with suppress(OSError):  # the same command begins anew, with what is mended
                (self.folder / STUDY).unlink()
            last = next((trial.reason for trial in reversed(trials) if trial.reason), "its training was ended early.")
            raise ConfigValueError(f"no trial of the sweep has finished. The last: {last}")
        best = swept.best
        if best is not None:
            swept = replace(swept, confirmed=self._confirmed(best))
        write_swept(swept, self.folder)
        page = sweep_page(swept, self.plan.as_file())
        write_whole(self.folder / PAGE, lambda aside: aside.write_text(page, encoding="utf-8"))
        self._write_best(best)
        return swept

    def _write_best(self, best: Tried | None) -> None:
        file = self.folder / "best.yaml"
        if best is None:
            file.unlink(missing_ok=True)
            return
        heading = f"# Trial {best.number} of a sweep: recbole-aia run --config_files best.yaml\n"
        text = heading + to_yaml({**self.plan.settings, **best.setting})
        write_whole(file, lambda aside: aside.write_text(text, encoding="utf-8"))

    def _tried(self, trial: FrozenTrial) -> Tried:
        last = trial.intermediate_values.get(trial.last_step) if trial.last_step is not None else None
        found = trial.user_attrs.get("found") or ({} if last is None else {"validation": last})
        reason = trial.user_attrs.get("reason", "")
        return Tried(trial.number, dict(trial.params), _STATES[trial.state], reason=reason, **found)

    def _confirmed(self, best: Tried) -> Confirmed:
        """The second attack on a trial, with another seed and so with other folds, and its test metrics."""
        with self._log(best.number):
            place, results = self._made(best.number, best.setting)
            test = {state: metrics[self.metric.lower()] for state, metrics in results["utility"].items()}
            name = f"attacked again {best.number}"
            kept = self.study.user_attrs.get(name)
            if kept is None:
                kept = self._attacked_again(place, best.number)
                self.study.set_user_attr(name, kept)
        return Confirmed(test=test, **kept)

    def _attacked_again(self, place: Path, number: int) -> dict[str, Any]:
        seed = self.seed + 1
        asked = self.plan.settings.get("attack_views")
        views = ["--attack_views=[served]"] if asked is None else []  # what counts in a run that is not told
        subject = run_subject(place, argv=[f"--seed={seed}", *views])
        worst = _worst(audit(subject, self.folder / f"again-{number}"))
        return {"seed": seed, "advantage": worst["advantage"], "floor": worst["floor"]}


def _worst(results: Mapping[str, Any]) -> dict[str, Any]:
    """The strongest attacker on any attribute of the defended model."""
    cases = {name: states["defended"] for name, states in results["worst_case"].items()}
    attribute = max(cases, key=lambda name: cases[name]["advantage"])
    case = cases[attribute]
    return {"attribute": attribute, "advantage": case["advantage"], "floor": case["floor"]}
