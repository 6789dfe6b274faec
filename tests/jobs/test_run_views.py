"""Runs whose model is attacked on several views."""

import pytest
from runs import FAST

from recbole_aia import run_recbole_aia
from recbole_aia.config.run_keys import REFERENCES
from recbole_aia.report import verdict


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    """A defended run of a model whose table is not what it serves, attacked on all views; and what it printed."""
    folder = tmp_path_factory.mktemp("views")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.argv", ["pytest"])
        values = {**FAST, "defense": "raid", "attributes": ["gender"], "attack_folds": 3}
        first = run_recbole_aia("LightGCN", config_dict={**values, "output_dir": "served", "attack_views": "served"})
        again = run_recbole_aia("LightGCN", config_dict={**values, "output_dir": "all", "attack_views": "all"})
        return folder, first["aia"], again["aia"]


class TestViews:
    def test_each_is_attacked_in_both_states_and_the_references_once(self, views):
        rows = [(row["state"], row["view"]) for row in views[2]["attacks"]]
        shown = ["served", "table", "both", "top_k", "top_k_unmasked", "scores"]
        assert rows == [
            *(("undefended", view) for view in [*shown[:5], "top_k_popular", "scores", "profile"]),
            *(("defended", view) for view in shown),
        ]

    def test_the_twin_is_reused_whatever_is_asked_of_it(self, views):
        assert len(list((views[0] / "saved").glob("undefended-*.pth"))) == 1
        served = [[row["metrics"] for row in found["attacks"] if row["view"] == "served"] for found in views[1:]]
        assert served[0] == served[1]

    def test_they_are_of_the_state_that_they_are_called_after(self, views):
        gains = {(row["state"], row["view"]): row["metrics"]["auc"]["mean"] for row in views[2]["attacks"]}
        for view in ("served", "table", "both", "top_k", "top_k_unmasked", "scores"):
            assert gains["undefended", view] != gains["defended", view]

    def test_the_worst_case_is_over_the_views_that_were_asked_for_without_the_references(self, views):
        for state, worst in views[2]["worst_case"]["gender"].items():
            rows = [r for r in views[2]["attacks"] if r["state"] == state and r["view"] not in REFERENCES]
            strongest = max(rows, key=lambda row: row["metrics"]["advantage"]["mean"])
            assert worst["view"] == strongest["view"]
            assert worst["advantage"] == strongest["metrics"]["advantage"]["mean"]
            assert worst["floor"] >= max(row["floor"]["permuted_advantage95"] for row in rows)
        assert views[1]["worst_case"]["gender"]["defended"]["view"] == "served"

    def test_the_table_is_readable_and_as_it_was_where_only_served_is_asked_for(self, views):
        from recbole_aia.report import attack_table

        plain, all_views = attack_table(views[1]), attack_table(views[2])
        assert "view" not in plain
        assert "served" not in plain + verdict(views[1])
        lines = all_views.splitlines()
        assert len(lines) == 5 + 8
        assert {len(line) for line in lines} == {len(lines[0])}
        assert len(lines[0]) <= 130
        references = [line for line in lines if "profile" in line or "top_k_popular" in line]
        assert [line.count("as undefended") for line in references] == [2, 2]
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


class TestLists:
    """A defended run that is not told what to look at."""

    @pytest.fixture(scope="class")
    def lists(self, views):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(views[0])
            patch.setattr("sys.argv", ["pytest"])
            values = {**FAST, "defense": "raid", "attributes": ["gender"], "attack_folds": 3, "holdout_users": 0.2}
            return run_recbole_aia("LightGCN", config_dict={**values, "output_dir": "lists"})["aia"]

    def test_they_are_attacked_beside_the_vectors_in_both_states_and_their_mask_once(self, lists):
        assert [(row["state"], row["view"]) for row in lists["attacks"]] == [
            ("undefended", "served"), ("undefended", "top_k"), ("undefended", "top_k_popular"),
            ("defended", "served"), ("defended", "top_k"),
        ]  # fmt: skip

    def test_they_count_nowhere_because_nobody_asked_for_them(self, lists, views):
        assert lists["worst_case"]["gender"]["undefended"] == views[1]["worst_case"]["gender"]["undefended"]
        counted = [lists["worst_case"]["gender"], *lists["holdout"]["worst_case"]["gender"].values()]
        assert {case["view"] for states in counted for case in states.values()} == {"served"}
        assert {row["view"] for part in ("comparisons", "who_leaks") for row in lists[part]} == {"served"}

    def test_the_results_and_the_verdict_have_them_beside_what_the_mask_gives(self, lists):
        cases = lists["lists"]["gender"]
        for name, (state, view) in {
            "undefended": ("undefended", "top_k"), "defended": ("defended", "top_k"),
            "mask": ("undefended", "top_k_popular"),
        }.items():  # fmt: skip
            (row,) = [row for row in lists["attacks"] if (row["state"], row["view"]) == (state, view)]
            assert cases[name]["advantage"] == row["metrics"]["advantage"]["mean"]
        (line,) = [line for line in verdict(lists).splitlines() if line.startswith("lists for gender: ")]
        assert f"defended {cases['defended']['advantage']:.3f} (logistic, floor " in line
        assert f"; the mask of seen items alone gives {cases['mask']['advantage']:.3f} (logistic" in line

    def test_a_run_without_a_defense_has_none(self):
        values = {**FAST, "attributes": ["gender"], "epochs": 1, "eval_step": 1}
        found = run_recbole_aia("BPR", config_dict=values)["aia"]
        assert {row["view"] for row in found["attacks"]} == {"served"}
        assert "lists" not in found
        assert "lists for" not in verdict(found)


def test_a_table_that_is_what_is_served_is_said_and_not_dropped_silently(capsys):
    values = {**FAST, "attributes": ["gender"], "attack_views": ["table", "profile"], "epochs": 1, "eval_step": 1}
    found = run_recbole_aia("BPR", config_dict=values)["aia"]
    assert [row["view"] for row in found["attacks"]] == ["served", "profile"]
    (note,) = [note for note in found["run"]["notes"] if "does not read it" not in note]
    assert "serves its raw parameters" in note
    assert f"note: {note}" in capsys.readouterr().out
