from dataclasses import replace

from pages import swept

from recbole_aia.report.page.sweep import sweep_page
from recbole_aia.report.swept import front_text, trials_frame


def numbers(trials):
    return [trial.number for trial in trials]


def test_the_front_has_the_trials_that_no_other_beats_in_both():
    assert numbers(swept().front) == [3, 2, 1, 0]
    worse = swept()
    beaten = replace(worse.trials[1], number=9, advantage=0.45)  # as useful as trial 1, and less private
    assert numbers(replace(worse, trials=[*worse.trials, beaten]).front) == [3, 2, 1, 0]


def test_of_two_equal_trials_the_first_is_on_the_front():
    found = swept()
    twin = replace(found.trials[0], number=9)
    assert numbers(replace(found, trials=[*found.trials, twin]).front) == [3, 2, 1, 0]


def test_the_best_is_the_most_useful_within_the_bound():
    assert swept(bound=0.2).best.number == 2
    assert swept(bound=0.45).best.number == 1
    assert swept(bound=0.05).best is None
    assert swept(bound=0.05).nearest.number == 3


def test_a_second_attack_above_the_bound_is_said():
    assert "The second is above the bound: the first was partly luck" in front_text(swept(again=0.22))
    assert "luck" not in front_text(swept(again=0.19))


def test_the_table_has_both_numbers_of_the_best_alone():
    lines = front_text(swept()).splitlines()
    row = "| **2** | **0.2** | **0.2000** | **50.0%** | **0.200 (0.050)** | **yes** | **0.220 (0.060)** |"
    assert row in lines
    assert sum(line.endswith("| - |") for line in lines) == 3
    assert "- trial 5 (noise_scale 4): &lt;b>no&lt;/b> | table" in lines


def test_no_trial_within_the_bound_is_said_with_the_nearest():
    said = front_text(swept(bound=0.05))
    assert "No trial is within the bound of 0.05. The nearest is trial 3 (noise_scale 0.7), advantage 0.100." in said
    assert "**" not in said


def test_a_model_that_ranks_nothing_right_has_no_share():
    found = swept()
    trials = [replace(trial, kept=float("nan")) for trial in found.trials]
    assert "**-**" in front_text(replace(found, trials=trials))


def test_every_trial_has_a_line_of_numbers():
    frame = trials_frame(swept())
    assert list(frame.trial) == [0, 1, 2, 3, 4, 5]
    assert list(frame.state) == ["finished"] * 4 + ["pruned", "failed"]
    assert list(frame.within) == [False, False, True, True, False, False]
    assert list(frame.front) == [True] * 4 + [False] * 2
    assert frame.advantage.isna().sum() == 2


def test_texts_of_the_page_are_escaped():
    page = sweep_page(swept(), {"model": "<script>"})
    assert "&lt;b&gt;no&lt;/b&gt; | table" in page
    assert "model: &lt;script&gt;" in page
