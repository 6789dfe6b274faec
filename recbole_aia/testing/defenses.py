"""What every defense promises: during training, and after it."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jsonschema
import pytest
import torch
from recbole.utils import init_seed
from torch import Tensor

from recbole_aia.cli import main
from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.config.properties import property_files
from recbole_aia.config.registry import defense_class, defense_keys, defenses, is_ours, keys_of
from recbole_aia.config.text import parse_value
from recbole_aia.data import LabelTable, load_labels, prepare_loaders
from recbole_aia.errors import AttributeDataError, ConfigValueError
from recbole_aia.model import build_model, scores_users
from recbole_aia.quick_start import run_recbole_aia
from recbole_aia.report import results_schema
from recbole_aia.storage.snapshots import Snapshots
from recbole_aia.testing.base import Contract, middling_users, required, short_config, split_once
from recbole_aia.trainer import DefenseTrainer, UndefendedTrainer, Unlearner, unlearners

#: Makes every training of a suite short. Keys of defenses go to the defenses that read them.
SHORT: dict[str, Any] = {
    "embedding_size": 8,
    "init_std": 0.1,
    "n_layers": 1,
    "train_batch_size": 32768,
    "epochs": 2,
    "attributes": ["gender", "age"],
    "unlearn_max_steps": 2,
}
ASKED = torch.arange(1, 200, 2)
LATER = torch.arange(2, 200, 2)


class Prepared(NamedTuple):
    """A defense on a model that is not trained yet.

    Attributes:
        trainer: of the defense.
        train_data: RecBole's loader.
        valid_data: likewise.
        labels: of all users.
    """

    trainer: Any
    train_data: Any
    valid_data: Any
    labels: LabelTable

    def served(self) -> Tensor:
        """The served vectors of all users, as they are now."""
        with torch.no_grad():
            return self.trainer.view.served().clone()  # type: ignore[no-any-return]

    def unlearn(self, users: Tensor | None = None) -> dict[str, Any]:
        """Hides all attributes of users; with interactions where the defense uses them."""
        train_data = self.train_data if self.trainer.uses_interactions else None
        record: dict[str, Any] = self.trainer.unlearn(train_data, labels=self.labels, users=users)
        return record


class EverySnapshot(Snapshots):
    """Snapshots that are always due."""

    due = True  # type: ignore[assignment]


class _AnyStage(Contract):
    """What a defense promises whatever its stage is; give yours as ``defense``."""

    #: The registered class.
    defense: ClassVar[type[DefenseTrainer] | None] = None
    #: Values by key that make it quick, or that it needs.
    values: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture
    def subject(self) -> Any:
        """The class that is tested."""
        return required(type(self).defense, type(self), "defense = MyDefense")

    def settings(self, subject: Any, **values: Any) -> dict[str, Any]:
        """The values of a short run, without the keys of other defenses."""
        merged = {**SHORT, **self.values, **values}
        own, every = keys_of(subject), defense_keys()
        kept = {name: value for name, value in merged.items() if name in own or name not in every}
        return {**kept, "defense": subject.defense, "stage": None if subject is UndefendedTrainer else subject.stage}

    def prepare(self, subject: Any, folder: Path, model: Any = "BPR", **values: Any) -> Prepared:
        """A defense on a new model; the seed is the same each time."""
        config = short_config(model, folder, **self.settings(subject, **values))
        init_seed(config["seed"], config["reproducibility"])
        parts = split_once(middling_users())
        train_data, valid_data, _ = prepare_loaders(config, parts, scores_users=scores_users(config))
        trainer = subject(config, build_model(config, train_data.dataset))
        return Prepared(trainer, train_data, valid_data, load_labels(config, middling_users()))

    def test_it_is_registered_under_its_name_and_stage(self, subject: Any) -> None:
        assert defense_class(subject.defense, subject.stage) is subject

    def test_its_keys_accept_their_defaults(self, subject: Any) -> None:
        for name, key in keys_of(subject).items():
            key.check(name, key.default)

    def test_a_misspelt_key_is_refused_and_the_right_one_named(self, subject: Any) -> None:
        own = [name for name in subject.keys if name.startswith(f"{subject.defense}_")]
        assert own or is_ours(subject) or not subject.keys
        for name in own:
            with pytest.raises(ConfigValueError, match=rf"there is no key '{name}x'\. Did you mean '"):
                AIAConfig("BPR", "ml-100k", argv=[f"--defense={subject.defense}", f"--{name}x=1"])

    def test_its_property_text_gives_its_keys_and_defaults(self, subject: Any) -> None:
        written = parse_value(property_files()[f"defense/{subject.defense}"]) or {}
        assert keys_of(subject).keys() <= written.keys()
        first = next(iter(defenses()[subject.defense].values()))
        for name, key in keys_of(first).items():
            assert written[name] == key.default

    def test_the_help_of_a_run_names_it_and_its_keys(self, subject: Any, capsys: Any) -> None:
        assert main(["run", "--help"]) == 0
        printed = capsys.readouterr().out
        assert f"--defense={subject.defense}" in printed
        assert all(f"\n{name}: " in printed for name in keys_of(subject))

    def test_an_equal_seed_gives_equal_users(self, subject: Any, tmp_path: Path) -> None:
        found = []
        for _ in range(2):
            prepared = self.prepare(subject, tmp_path)
            prepared.trainer.fit(prepared.train_data, saved=False)
            found.append(prepared.served())
        assert torch.equal(*found) == subject.repeatable

    def test_users_come_out_finite_and_other_than_without_it(self, subject: Any, tmp_path: Path) -> None:
        defended, undefended = self.prepare(subject, tmp_path), self.prepare(UndefendedTrainer, tmp_path)
        before = defended.served()
        assert torch.equal(undefended.served(), before)
        defended.trainer.fit(defended.train_data, saved=False)
        if subject.stage == "in":
            undefended.trainer.fit(undefended.train_data, saved=False)
        assert defended.served().isfinite().all()
        assert not torch.equal(defended.served(), undefended.served())

    def test_data_of_other_users_than_the_models_are_refused(self, subject: Any, tmp_path: Path) -> None:
        trainer, train_data, valid_data, _ = self.prepare(subject, tmp_path)
        known: Any = trainer.model.numbering
        trainer.model.numbering = replace(known, users=known.users[::-1])
        with pytest.raises(AttributeDataError):
            trainer.fit(train_data, valid_data, saved=False)

    def test_results_of_a_short_run_fit_the_schema_and_name_it(self, subject: Any, tmp_path: Path) -> None:
        quick = {"attackers": ["logistic"], "attack_folds": 2, "attack_repeats": 1, "attack_jobs": 1}
        places = {"output_dir": "out", "checkpoint_dir": "saved", "show_progress": False}
        values = {**self.settings(subject), **quick, **places}
        run_recbole_aia("BPR", "ml-100k", config_dict=values, argv=[])
        results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
        jsonschema.validate(results, results_schema())
        assert (results["run"]["defense"], results["run"]["stage"]) == (subject.defense, subject.stage)
        assert results["utility"].keys() == {"undefended", "defended"}
        assert {row["state"] for row in results["attacks"]} == {"undefended", "defended"}


class DefenseContract(_AnyStage):
    """What every :class:`~recbole_aia.DefenseTrainer` promises; give yours as ``defense``."""

    def test_the_last_state_is_kept_evaluated_and_loaded_again(self, subject: Any, tmp_path: Path) -> None:
        prepared = self.prepare(subject, tmp_path)
        trainer = prepared.trainer
        _, result = trainer.fit(prepared.train_data, prepared.valid_data)
        saved = torch.load(trainer.saved_model_file, weights_only=True)
        assert saved["config"]["defense"] == subject.defense
        for name, value in trainer.model.state_dict().items():
            assert torch.equal(saved["state_dict"][name], value.cpu())
        assert trainer.evaluate(prepared.valid_data) == result

    def test_an_interrupted_training_goes_on_to_the_same_users(self, subject: Any, tmp_path: Path) -> None:
        if not vars(subject).get("resumable", False):
            pytest.skip(f"{subject.__qualname__} does not say resumable = True: it begins anew")

        def trained(stopped: bool, kept: Snapshots | None) -> Prepared:
            prepared = self.prepare(subject, tmp_path, epochs=4)
            trainer = prepared.trainer

            def stop(epoch: int) -> None:
                if epoch == trainer.epochs - 1:  # the last of the first phase
                    raise KeyboardInterrupt

            trainer.after_epoch, trainer.snapshots = stop if stopped else None, kept
            prepared.trainer.fit(prepared.train_data, prepared.valid_data, saved=False)
            return prepared

        alone = trained(False, None)
        with pytest.raises(KeyboardInterrupt):
            trained(True, EverySnapshot(tmp_path / "kept"))
        again = trained(False, EverySnapshot(tmp_path / "kept"))
        assert min(again.trainer.train_loss_dict) == 0  # the losses before the interruption come back
        assert again.trainer.train_loss_dict == alone.trainer.train_loss_dict
        assert torch.equal(again.served(), alone.served())
        assert again.trainer.best_valid_result == alone.trainer.best_valid_result


class UnlearnerContract(_AnyStage):
    """What every :class:`~recbole_aia.Unlearner` promises; give yours as ``defense``."""

    @pytest.mark.parametrize(("model", "target"), [("BPR", "table"), ("LightGCN", "released"), ("DMF", "released")])
    def test_only_those_who_asked_move(self, subject: Any, tmp_path: Path, model: str, target: str) -> None:
        prepared = self.prepare(subject, tmp_path, model, target=target)
        before, parameters = prepared.served(), copy.deepcopy(prepared.trainer.model.state_dict())
        prepared.unlearn(ASKED)
        moved = (prepared.served() != before).any(dim=1)
        assert (moved.nonzero().squeeze(1) + 1).tolist() == ASKED.tolist()
        after = prepared.trainer.model.state_dict()
        changed = [name for name, value in after.items() if not torch.equal(value, parameters[name])]
        # A graph model's tables are emptied when its users are released.
        expected = {"BPR": ["user_embedding.weight"], "DMF": []}
        assert changed == expected.get(model, ["user_embedding.weight", "item_embedding.weight"])

    def test_who_asked_earlier_stays_when_others_ask(self, subject: Any, tmp_path: Path) -> None:
        prepared = self.prepare(subject, tmp_path)
        prepared.unlearn(ASKED)
        before = prepared.served()
        prepared.unlearn(LATER)
        moved = (prepared.served() != before).any(dim=1)
        assert (moved.nonzero().squeeze(1) + 1).tolist() == LATER.tolist()
        assert [record["users"] for record in prepared.trainer.history] == [ASKED.tolist(), LATER.tolist()]

    def test_an_interrupted_unlearning_goes_on_to_the_same_users(self, subject: Any, tmp_path: Path) -> None:
        if not subject.repeatable:
            pytest.skip(f"{subject.__qualname__} gives other users each time")

        class Stopping(EverySnapshot):
            def save(self, state: Mapping[str, Any]) -> None:
                super().save(state)
                if max(self._numbers()) == 2:
                    raise KeyboardInterrupt

        def unlearned(kept: Snapshots | None) -> Prepared:
            prepared = self.prepare(subject, tmp_path, unlearn_max_steps=35)
            prepared.trainer.snapshots = kept
            prepared.unlearn(ASKED)
            return prepared

        alone = unlearned(None)
        with suppress(KeyboardInterrupt):  # one without snapshots is not interrupted and begins anew
            unlearned(Stopping(tmp_path / "kept"))
        assert torch.equal(unlearned(EverySnapshot(tmp_path / "kept")).served(), alone.served())

    def test_the_record_says_what_was_done_as_plain_data(self, subject: Any, tmp_path: Path) -> None:
        record = self.prepare(subject, tmp_path).unlearn(ASKED)
        assert (record["defense"], record["attributes"]) == (subject.defense, ["gender", "age"])
        assert json.loads(json.dumps(record)) == record

    def test_fitting_keeps_the_edited_state_and_its_record(self, subject: Any, tmp_path: Path) -> None:
        prepared = self.prepare(subject, tmp_path)
        trainer = prepared.trainer
        _, result = trainer.fit(prepared.train_data, prepared.valid_data)
        saved = torch.load(trainer.saved_model_file, weights_only=True)
        (record,) = saved["unlearned"]
        assert (record["defense"], record["users"]) == (subject.defense, None)
        assert torch.equal(saved["state_dict"]["user_embedding.weight"], trainer.model.user_embedding.weight.cpu())
        assert trainer.evaluate(prepared.valid_data) == result

    def test_the_help_of_unlearn_names_it_and_its_keys(self, subject: Any, capsys: Any) -> None:
        assert unlearners()[subject.defense] is subject
        assert issubclass(subject, Unlearner)
        with pytest.raises(SystemExit, match=r"^0$"):
            main(["unlearn", "--help"])
        printed = capsys.readouterr().out
        assert f"\n  {subject.defense} " in printed
        assert all(name in printed for name in subject.keys)
