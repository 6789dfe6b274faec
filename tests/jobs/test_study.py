import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from recbole_aia.config.search import Choices, Range
from recbole_aia.errors import ConfigValueError
from recbole_aia.jobs.study import MedianWithin, next_trial, open_study, tried

DOMAINS = {"scale": Range(0.1, 10, log=True), "steps": Range(1, 9, whole=True), "how": Choices(("a", None, True))}


def finished(scores, above):
    """A trial with a validation score for each epoch from 5, and how far its advantage is above the bound."""
    return create_trial(
        value=scores[-1],
        intermediate_values=dict(enumerate(scores, start=5)),
        params={"scale": 1.0},
        distributions={"scale": FloatDistribution(0.1, 10)},
        system_attrs={"constraints:bound": above},
    )


@pytest.fixture
def study():
    return optuna.create_study(direction="maximize", pruner=MedianWithin())


class TestMedianWithin:
    def ends(self, study, *scores):
        trial = study.ask()
        for epoch, score in enumerate(scores, start=5):
            trial.report(score, epoch)
        return trial.should_prune()

    def test_a_training_below_the_median_of_the_trials_within_the_bound_ends(self, study):
        study.add_trials([finished([0.5, score], above=-0.1) for score in (0.1, 0.2, 0.3, 0.4, 0.5)])
        assert self.ends(study, 0.5, 0.29)
        assert not self.ends(study, 0.5, 0.3)

    def test_trials_above_the_bound_do_not_count(self, study):
        study.add_trials([finished([0.2], above=0.0) for _ in range(5)] + [finished([0.9], above=0.1)] * 9)
        assert not self.ends(study, 0.2)
        assert self.ends(study, 0.1)

    def test_a_few_trials_end_none(self, study):
        study.add_trials([finished([0.9], above=-0.1)] * 4)
        assert not self.ends(study, 0.1)

    def test_only_the_same_epoch_counts(self, study):
        study.add_trials([finished([0.9], above=-0.1)] * 9)
        assert not self.ends(study, 0.9, 0.1)
        assert not study.ask().should_prune()


def test_an_interrupted_trial_is_taken_up_again(tmp_path):
    study = open_study(tmp_path / "study.db", "digest")
    first, values = next_trial(study, DOMAINS, seed=3)
    study.tell(first, 1.0)
    second, others = next_trial(study, DOMAINS, seed=3)
    assert others != values  # other random numbers
    found, same = next_trial(open_study(tmp_path / "study.db", "digest"), DOMAINS, seed=3)
    assert (found.number, same) == (second.number, others)
    assert [trial.number for trial in tried(study)] == [0]
    with pytest.raises(ConfigValueError, match="holds another sweep"):
        open_study(tmp_path / "study.db", "other")


def test_the_seed_decides_what_is_tried():
    def drawn(seed):
        study, found = optuna.create_study(), []
        for _ in range(3):
            trial, values = next_trial(study, DOMAINS, seed)
            study.tell(trial, state=TrialState.FAIL)
            found.append(values)
        return found

    assert drawn(3) == drawn(3) != drawn(4)


def test_values_are_of_their_kind(study):
    _, values = next_trial(study, DOMAINS, seed=3)
    assert 0.1 <= values["scale"] <= 10
    assert type(values["steps"]) is int
    assert values["how"] in ("a", None, True)


def test_a_file_that_is_no_study_is_refused(tmp_path):
    (tmp_path / "study.db").write_text("no database at all" * 100, encoding="utf-8")
    with pytest.raises(ConfigValueError, match="cannot be read as a study"):
        open_study(tmp_path / "study.db", "digest")


def test_a_folder_may_have_any_name(tmp_path):
    folder = tmp_path / "50%?x=1#{ä}"
    folder.mkdir()
    open_study(folder / "study.db", "digest")
    assert [file.name for file in tmp_path.iterdir()] == [folder.name]
    assert (folder / "study.db").stat().st_size > 0
    assert (folder / "study.db").stat().st_mode & 0o077 == 0
