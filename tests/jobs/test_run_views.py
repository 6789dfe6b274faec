"""Runs whose model is attacked on several views."""

import pytest
from runs import FAST

from recbole_aia import run_recbole_aia


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    """A defended run of a model whose table is not what it serves, attacked on all views; and what it printed."""
    folder = tmp_path_factory.mktemp("views")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.argv", ["pytest"])
        values = {**FAST, "defense": "raid", "attributes": ["gender"], "attack_folds": 3}
        first = run_recbole_aia("LightGCN", config_dict={**values, "output_dir": "served"})
        again = run_recbole_aia("LightGCN", config_dict={**values, "output_dir": "all", "attack_views": "all"})
        return folder, first["aia"], again["aia"]


class TestViews:
    def test_each_is_attacked_in_both_states_and_the_profile_once(self, views):
        rows = [(row["state"], row["view"]) for row in views[2]["attacks"]]
        shown = ["served", "table", "both", "top_k", "scores"]
        assert rows == [
            *(("undefended", view) for view in [*shown, "profile"]),
            *(("defended", view) for view in shown),
        ]

    def test_the_twin_is_reused_whatever_is_asked_of_it(self, views):
        assert len(list((views[0] / "saved").glob("undefended-*.pth"))) == 1
        served = [[row["metrics"] for row in found["attacks"] if row["view"] == "served"] for found in views[1:]]
        assert served[0] == served[1]

    def test_they_are_of_the_state_that_they_are_called_after(self, views):
        gains = {(row["state"], row["view"]): row["metrics"]["auc"]["mean"] for row in views[2]["attacks"]}
        for view in ("served", "table", "both", "top_k", "scores"):
            assert gains["undefended", view] != gains["defended", view]

    def test_the_worst_case_is_over_views_without_the_profile(self, views):
        for state, worst in views[2]["worst_case"]["gender"].items():
            rows = [r for r in views[2]["attacks"] if r["state"] == state and r["view"] != "profile"]
            strongest = max(rows, key=lambda row: row["metrics"]["advantage"]["mean"])
            assert worst["view"] == strongest["view"]
            assert worst["advantage"] == strongest["metrics"]["advantage"]["mean"]
            assert worst["floor"] >= max(row["floor"]["permuted_advantage95"] for row in rows)
        assert views[1]["worst_case"]["gender"]["defended"]["view"] == "served"

    def test_the_table_is_readable_and_as_it_was_where_only_served_is_asked_for(self, views):
        from recbole_aia.report import attack_table, verdict

        plain, all_views = attack_table(views[1]), attack_table(views[2])
        assert "view" not in plain
        assert "served" not in plain + verdict(views[1])
        lines = all_views.splitlines()
        assert len(lines) == 5 + 6
        assert {len(line) for line in lines} == {len(lines[0])}
        assert len(lines[0]) <= 130
        (profile,) = [line for line in lines if "profile" in line]
        assert profile.count("as undefended") == 2
        said = verdict(views[2])
        assert f"({views[2]['worst_case']['gender']['defended']['attacker']} on " in said
        assert "ceiling for gender: " in said

    def test_an_audit_of_the_run_finds_the_same(self, views):
        from recbole_aia.jobs.audit import audit
        from recbole_aia.jobs.subjects import run_subject

        found = audit(run_subject(views[0] / "all", argv=["--attack_views=[top_k,scores]"]), "audited")
        assert found["audit"]["kind"] == "run"
        expected = {
            row["view"]: row["metrics"]["auc"]["mean"] for row in views[2]["attacks"] if row["state"] == "defended"
        }
        assert {row["view"]: row["metrics"]["auc"]["mean"] for row in found["attacks"]} == pytest.approx(
            {view: expected[view] for view in ("top_k", "scores")}, abs=1e-3
        )


def test_a_table_that_is_what_is_served_is_said_and_not_dropped_silently(capsys):
    values = {**FAST, "attributes": ["gender"], "attack_views": ["table", "profile"], "epochs": 1, "eval_step": 1}
    found = run_recbole_aia("BPR", config_dict=values)["aia"]
    assert [row["view"] for row in found["attacks"]] == ["served", "profile"]
    (note,) = [note for note in found["run"]["notes"] if "does not read it" not in note]
    assert "serves its raw parameters" in note
    assert f"note: {note}" in capsys.readouterr().out
