"""The benchmarks run, compare equal things and print what they promise; their figures are not tested."""

import json
import sys

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import kills, leaks, on_gpu, setting
from benchmarks.attacks import REFERENCE, Suite, attack_suite
from benchmarks.attrcloak import _many, _Ours, _Plain, population
from benchmarks.epochs import lightgcn_epoch, loader, neumf_eval
from benchmarks.measure import interleaved, overhead, seconds, speed_up
from benchmarks.ml_1m_raw import write_raw
from benchmarks.prepare import generate, one_way
from benchmarks.price import _class_means
from benchmarks.raid import Epochs
from benchmarks.scale import DEFENSES, one_size
from benchmarks.setting import Shape
from benchmarks.steps import step
from recbole_aia.data.converters import CONVERTERS, prepare
from recbole_aia.evaluator.presets import PRESETS

TINY = Shape(300, 120, 4000)
KEYS = {"name", "ratio", "ratio_is", "ours_s", "reference_s", "max_abs_error", "threads"}


def test_tasks_take_turns():
    calls = []
    times = interleaved([lambda: calls.append("a"), lambda: calls.append("b")], repeats=3, warm_up=1)
    assert calls == ["a", "b"] * 4
    assert len(times) == 2


def test_ratios_say_which_way_they_go():
    assert speed_up("x", 1.0, 5.0, 0.0)["ratio"] == 5.0
    assert overhead("x", 1.1, 1.0, None)["ratio"] == 1.1
    assert "higher is better" in speed_up("x", 1.0, 5.0, 0.0)["ratio_is"]
    assert "lower is better" in overhead("x", 1.0, 5.0, None)["ratio_is"]


@pytest.mark.parametrize("model", ["LightGCN", "NGCF", "DMF"])
def test_steps_compare_equal_gradients(model):
    result = step("a_step", model, TINY, repeats=1)
    assert set(result) >= KEYS
    assert result["max_rel_error"] < 1e-5


def test_the_loaders_epoch_compares_equal_batches():
    assert loader(TINY, repeats=1)["max_abs_error"] == 0


def test_evaluations_compare_equal_scores():
    assert neumf_eval(TINY, repeats=1)["max_abs_error"] < 1e-6


def test_both_ways_of_preparing_read_the_same_lines(tmp_path):
    generate(tmp_path, 100_000)
    ours, plain = (one_way(tmp_path, way) for way in ("ours", "plain"))
    assert ours["lines"] == plain["lines"] > 90_000
    assert ours["kept"]["interactions"] == sum(1 for _ in (tmp_path / "out/lastfm-360k/lastfm-360k.inter").open()) - 1
    assert set(ours) == set(plain)


def test_movielens_goes_from_atomic_files_to_raw_ones_and_back(tmp_path):
    files = {
        "ml-1m.inter": "user_id:token\titem_id:token\trating:float\n1\t661\t3\n1\t1193\t5\n2\t661\t4\n",
        "ml-1m.user": "user_id:token\tgender:token\tage:token\toccupation:token\tzip_code:token\n"
        "1\tF\t1\t10\t01234\n2\tM\t56\t16\t70072\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    write_raw(tmp_path, tmp_path / "raw")
    prepare(CONVERTERS["ml-1m"], tmp_path / "raw", tmp_path)
    inter, user = ((tmp_path / "ml-1m" / name).read_text() for name in files)
    assert user == files["ml-1m.user"]
    assert ["\t".join(line.split("\t")[:3]) for line in inter.splitlines()] == files["ml-1m.inter"].splitlines()


def test_epochs_end_in_equal_weights():
    assert lightgcn_epoch(TINY, repeats=1)["max_abs_error"] < 1e-5


def test_raids_epochs_are_with_and_without_its_loss():
    epochs = Epochs("BPR", TINY, steps=1)
    measured = epochs.measure(repeats=2)
    assert epochs.term.refreshes == 3
    assert epochs.data.share == len(epochs.data.loader) == 2
    assert set(measured) == {"ratio", "cycle", "phase1_s", "phase2_s", "refresh_s", "first_refresh_s"}
    assert min(measured.values()) > 0


def test_both_descents_of_attrcloak_take_the_same_steps():
    start, labels = population(2000, 6)
    ours, plain = _Ours(start, labels), _Plain(start, labels)
    assert float(ours.run(5)) == pytest.approx(float(plain.run(5)), abs=1e-5)
    assert not torch.equal(ours.vectors, start)


def test_many_users_report_time_and_memory():
    measured = _many(2000, 8)
    assert measured["users"] == 2000
    assert measured["peak_mib"] > 0


@pytest.mark.parametrize("defense", DEFENSES)
def test_a_size_reports_time_and_memory(defense):
    row = one_size(defense, "BPR", TINY, batch=512, repeats=1)
    assert row["defended_epoch_s"] > 0
    assert row["undefended_epoch_s"] > 0


def test_the_plain_loop_has_the_attackers_of_the_raid_protocol():
    assert tuple(REFERENCE) == PRESETS["raid"].attackers


def test_attacks_are_compared_with_the_plain_loop_in_every_metric(monkeypatch):
    for name in set(REFERENCE) - {"mlp_raid_1", "naive_bayes_raid", "knn_raid", "adaboost_raid"}:
        monkeypatch.delitem(REFERENCE, name)
    result = attack_suite(Suite(users=120, dimensions=4, folds=2, repeats=2, reference_repeats=1))
    within, of = map(int, result["within"].split(" of "))
    assert of == 4 * 2 * 4
    assert within > 0.7 * of


def test_the_command_prints_one_line_of_json(monkeypatch, capsys):
    monkeypatch.setitem(command.BENCHMARKS, "loader", lambda quick: speed_up("loader", 1.0, 2.0, 0.0))
    monkeypatch.setattr(sys, "argv", ["benchmarks", "loader", "--quick"])
    command.main()
    printed = json.loads(capsys.readouterr().out)
    assert printed == {**printed, "name": "loader", "quick": True, "threads": torch.get_num_threads()}


def test_the_table_of_leaks_has_a_line_for_each_view_and_marks_the_largest():
    rows = [
        {
            "attribute": "gender",
            "view": view,
            "attacker": attacker,
            "metrics": {"advantage": {"mean": gain, "ci95": [gain - 0.1, gain + 0.1]}},
            "floor": {"permuted_advantage95": 0.07},
        }
        for view, gains in {"served": (0.3, 0.4), "top_k": (0.25, 0.2)}.items()
        for attacker, gain in zip(("logistic", "knn"), gains, strict=True)
    ]
    header, _, *lines = leaks.table({"BPR": {"attacks": rows}}, "gender").splitlines()
    assert header == "| model | view | logistic | knn | largest | its floor |"
    assert lines == [
        "| BPR | served | 0.30 | **0.40** | 0.400 (0.30-0.50) | 0.070 |",
        "| BPR | top_k | **0.25** | 0.20 | 0.250 (0.15-0.35) | 0.070 |",
    ]


def test_what_joint_classes_lost_is_their_mean():
    moves = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]])
    told = _class_means(moves, torch.tensor([[0, 1], [0, 1], [0, 0]]))
    assert torch.equal(told, torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 5.0]]))


def test_kills_compare_results_without_their_times_and_look_for_litter(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.json").write_text('{"run": {"seconds": 1.5}, "attacks": [{"seconds": 2, "auc": 0.5}]}')
    found = kills.outcome(tmp_path)
    assert found == {"run": {}, "attacks": [{"auc": 0.5}]}
    assert kills._difference(found, {"run": {}, "attacks": [{"auc": 0.6}]}) == "/attacks/0/auc: 0.5 and not 0.6"
    assert kills.litter(tmp_path) == []
    (tmp_path / "out" / ".12.run.log").touch()
    assert kills.litter(tmp_path) == ["out/.12.run.log"]


def test_a_gpu_has_done_its_work_when_the_clock_starts_and_when_it_stops(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: calls.append("waits"))
    seconds(lambda: calls.append("works"))
    assert calls == ["waits", "works", "waits"]


def test_the_command_chooses_the_device_of_both_sides(monkeypatch, capsys):
    monkeypatch.setitem(setting.VALUES, "device", "auto")
    where = []
    monkeypatch.setitem(
        command.BENCHMARKS, "loader", lambda quick: where.append(setting.device()) or speed_up("loader", 1.0, 2.0, 0.0)
    )
    monkeypatch.setattr(sys, "argv", ["benchmarks", "loader", "--quick", "--device", "cpu"])
    command.main()
    assert where == [torch.device("cpu")]


def test_the_table_of_a_gpu_says_what_holds_what_does_not_and_what_was_not_measured(tmp_path, monkeypatch, capsys):
    lines = [
        {"name": "epoch LightGCN", "ours_s": 0.7, "ratio": 7.5, "loss_error": 0.0, "gradient_error": 2e-7},
        {"name": "attack 6040 cpu", "seconds": 50.0},
        {"name": "attack 6040 cuda", "seconds": 10.0},
        {"part": "epochs", "exit": 0, "seconds": 61},
        {"part": "tests", "exit": 1, "seconds": 180},
    ]
    (tmp_path / "lines.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "tests.log").write_text("....\n=== 1 failed, 2000 passed in 180.12s ===\n")
    monkeypatch.setattr(sys, "argv", ["on_gpu", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        on_gpu.main()
    assert stopped.value.code == 1
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    endings = {(" ".join(line[:2]), *line[-2:]) for line in printed}
    assert {("epoch LightGCN", "0.7", "yes"), ("epoch LightGCN", "7.5", "no"), ("epoch NGCF", "-", "?")} <= endings
    assert ("attack 6040", "5", "yes") in endings
    assert printed[-2][-9:] == ["0", "failed", "1", "failed,", "2000", "passed", "in", "180.12s", "no"]
    assert printed[-1][:5] == ["parts:", "epochs", "61", "s", "(exit"]
