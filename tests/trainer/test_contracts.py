"""Our defenses under the contract suites; one joins by being registered."""

import pytest

from recbole_aia.config.registry import defenses
from recbole_aia.testing import DefenseContract, UnlearnerContract
from recbole_aia.trainer import CalibratedTrainer, CalibratedUnlearner, Unlearner

QUICK = {
    "raid_atoms": 16,
    "calibrated_steps": 2,
    "adversarial_count": 2,
    "adversarial_post_epochs": 1,
    "rap_count": 1,
    "blurme_folds": 2,
    "record_folds": 2,
    "ldp_rounds": 1,
}
EVERY = [each for name, stages in defenses().items() for each in stages.values() if name != "none"]
EDITING = [each for each in EVERY if issubclass(each, Unlearner) and each is not CalibratedUnlearner]
TRAINING = [each for each in EVERY if not issubclass(each, Unlearner) and each is not CalibratedTrainer]


def name_of(defense):
    return f"{defense.defense}-{defense.stage}"


class TestCalibrated(DefenseContract):
    defense = CalibratedTrainer
    values = QUICK


class TestCalibratedAfterTraining(UnlearnerContract):
    defense = CalibratedUnlearner
    values = QUICK


class TestDefenses(DefenseContract):
    values = QUICK
    # A run takes seconds: calibrated has one for each stage.
    test_results_of_a_short_run_fit_the_schema_and_name_it = None

    @pytest.fixture(params=TRAINING, ids=name_of)
    def subject(self, request):
        return request.param


class TestUnlearners(UnlearnerContract):
    values = QUICK
    test_results_of_a_short_run_fit_the_schema_and_name_it = None

    @pytest.fixture(params=EDITING, ids=name_of)
    def subject(self, request):
        return request.param
