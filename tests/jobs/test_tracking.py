import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest
from pages import results
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from recbole_aia.jobs.hook import AttackHook
from recbole_aia.jobs.tracking import track


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for the package, which writes nothing anywhere."""
    fake = ModuleType("wandb")
    fake.__spec__ = ModuleSpec("wandb", None)
    fake.run, fake.logged = None, []
    fake.define_metric = lambda *args, **kwargs: None
    fake.init = lambda **kwargs: setattr(fake, "run", SimpleNamespace(summary={}))
    fake.log = lambda metrics, commit=True: fake.logged.append(metrics)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def test_worst_cases_are_in_tensorboard(make_config, tmp_path):
    track(make_config(), results(after=0.25))
    (folder,) = (tmp_path / "log_tensorboard").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    found = {name: events.Scalars(name)[0].value for name in events.Tags()["scalars"]}
    assert found == pytest.approx(
        {
            "Attack/gender/worst_case/undefended/advantage": 0.5,
            "Attack/gender/worst_case/undefended/floor": 0.1,
            "Attack/gender/worst_case/defended/advantage": 0.25,
            "Attack/gender/worst_case/defended/floor": 0.1,
        }
    )


def test_they_are_in_the_summary_of_weights_and_biases(make_config, wandb):
    track(make_config(log_wandb=True), results(after=0.25))
    assert wandb.run.summary["attack/gender/worst_case/defended/advantage"] == 0.25
    assert len(wandb.run.summary) == 4


def test_without_the_key_nothing_goes_there(make_config, wandb):
    track(make_config(), results())
    assert wandb.run is None


def test_attacks_after_epochs_go_to_both(make_config, monkeypatch):
    written, logged = [], []
    trainer = SimpleNamespace(
        tensorboard=SimpleNamespace(add_scalar=lambda *event: written.append(event)),
        wandblogger=SimpleNamespace(log_metrics=lambda metrics, head: logged.append((head, metrics))),
        logger=SimpleNamespace(info=lambda text: None),
    )
    row = {"attribute": "gender", "attacker": "svm", "metrics": {"advantage": {"mean": 0.4}}}
    report = SimpleNamespace(rows=[row], worst_case=dict)
    hook = AttackHook.__new__(AttackHook)
    hook.trainer, hook.every, hook.seconds = trainer, 1, 0.0
    hook.labels = SimpleNamespace(columns=dict, classes={})
    hook.evaluator = SimpleNamespace(evaluate=lambda *args, **kwargs: report)
    monkeypatch.setattr(AttackHook, "_served", lambda self: None)
    hook(3)
    assert written == [("Attack/gender/svm/advantage", 0.4, 3)]
    assert logged == [("attack", {"epoch": 3, "gender/svm/advantage": 0.4})]
