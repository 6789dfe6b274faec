"""What counts as a label, and which classes are attacked."""

import numpy as np
import pandas as pd
import pytest
from attacked import attack, gaussians, untimed

from recbole_aia.errors import AttributeDataError
from recbole_aia.evaluator import AttackReport, encode_labels


class TestLabels:
    @pytest.mark.parametrize("nothing", [-1, None, float("nan"), "", np.nan, pd.NA])
    def test_missing_labels_are_left_out_and_counted(self, nothing):
        embeddings, classes = gaussians(80, 1.0)
        labels = [nothing if user < 10 else f"c{k}" for user, k in enumerate(classes)]
        row = attack(embeddings, labels).rows[0]
        assert (row["n_users"], row["missing"]) == (70, 10)
        known = attack(embeddings[10:], labels[10:]).rows[0]
        assert row["metrics"] == known["metrics"]

    def test_small_classes_are_left_out_and_named(self):
        embeddings, classes = gaussians(80, 1.0)
        labels = np.array(["F", "M"], dtype=object)[classes]
        labels[:3] = "doctor"
        row = attack(embeddings, labels).rows[0]
        assert row["left_out"] == {"doctor": "<5"}
        assert row["n_users"] == 77
        assert list(row["auc_per_class"]) == ["F", "M"]

    def test_all_ways_to_give_them_mean_the_same(self):
        embeddings, classes = gaussians(60, 1.0)
        expected = untimed(attack(embeddings, {"attribute": classes}))
        shuffled_index = pd.Series(classes, index=np.arange(60)[::-1])
        for labels in (
            classes,
            classes.tolist(),
            classes.astype(float),
            shuffled_index,
            pd.DataFrame({"attribute": shuffled_index}),
        ):
            assert untimed(attack(embeddings, labels)) == expected

    def test_numbers_are_ordered_as_numbers_and_names_may_be_given(self):
        embeddings, _ = gaussians(60, 1.0)
        ages = np.array([18, 100, 25])[np.arange(60) % 3]
        assert list(attack(embeddings, ages).rows[0]["auc_per_class"]) == ["18", "25", "100"]
        names = {"attribute": ["young", "middle", "old"]}
        row = attack(embeddings, np.arange(60) % 3, names).rows[0]
        assert list(row["auc_per_class"]) == names["attribute"]
        assert (
            attack(embeddings, [names["attribute"][k % 3] for k in range(60)], names).rows[0]["auc_per_class"]
            == (row["auc_per_class"])
        )

    def test_an_attribute_without_two_usable_classes_is_named_and_the_others_are_attacked(self):
        embeddings, classes = gaussians(80, 1.0)
        rare = np.where(np.arange(80) < 3, "vip", "other")
        report = attack(embeddings, {"constant": np.ones(80), "gender": classes, "rare": rare})
        assert [row["attribute"] for row in report.rows] == ["gender"]
        assert list(report.skipped) == ["constant", "rare"]
        assert "constant: not attacked. attribute 'constant' has 1 of 1 classes" in str(report)
        assert "other: 77, vip: <5" in report.skipped["rare"]
        assert AttackReport.concat([report, report]).skipped == report.skipped

    def test_a_constant_attribute_is_refused_with_its_numbers(self):
        with pytest.raises(AttributeDataError, match=r"'gender' has 1 of 1 classes .* 5 users \(largest: F: 40; 0"):
            attack(np.ones((40, 2)), {"gender": ["F"] * 40})

    def test_an_attribute_of_tiny_classes_is_refused_with_its_numbers(self):
        with pytest.raises(
            AttributeDataError, match=r"0 of 10 classes .*largest: 0: <5, .*smaller attack_folds"
        ) as error:
            attack(np.ones((40, 2)), np.arange(40) % 10)
        assert "\n" not in str(error.value)

    def test_an_attribute_without_labels_is_refused(self):
        with pytest.raises(AttributeDataError, match="no label at all; 40 users without"):
            attack(np.ones((40, 2)), [None] * 40)

    @pytest.mark.parametrize("labels", [np.zeros(39), np.zeros((40, 1)), "F"])
    def test_another_shape_is_refused(self, labels):
        with pytest.raises(AttributeDataError, match="for 40 users"):
            attack(np.ones((40, 2)), labels)

    @pytest.mark.parametrize("bad", [2, -2, 0.5, "X"])
    def test_a_label_outside_the_named_classes_is_refused(self, bad):
        labels = [0, 1] * 19 + [bad, 0]
        with pytest.raises(AttributeDataError, match=r"label .*but its 2 classes are F, M"):
            attack(np.ones((40, 2)), labels, {"attribute": ["F", "M"]})

    def test_no_attribute_is_refused(self):
        with pytest.raises(AttributeDataError, match="no labels"):
            attack(np.ones((40, 2)), {})


@pytest.mark.parametrize("values", [[3, -1, 7, 3, 7], [3.0, np.nan, 7.0, 3.0, 7.0]])
def test_numbers_of_an_array_are_read_as_those_of_a_list(values):
    of_list, of_array = (encode_labels("a", each, 5, 2) for each in (values, np.array(values)))
    np.testing.assert_array_equal(of_list.codes, of_array.codes)
    np.testing.assert_array_equal(of_array.users, [0, 2, 3, 4])
    assert of_list.class_names == of_array.class_names == ("3", "7")
    assert of_list.missing == of_array.missing == 1
