import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_aia.data import AttributeSpec, load_labels, read_labels
from recbole_aia.errors import AttributeDataError, ConfigValueError


class TestEncoding:
    @given(st.lists(st.integers(-5, 100), min_size=1), st.lists(st.integers(0, 90), min_size=1, unique=True))
    def test_a_binned_value_lies_between_its_edges(self, values, edges):
        edges = sorted(edges)
        spec = AttributeSpec.from_mapping("age", {"bins": edges})
        codes, names, _ = spec.encode(pd.Series([str(v) for v in values]))
        assert len(names) == len(edges) + 1
        bounds = [-np.inf, *edges, np.inf]
        for value, code in zip(values, codes, strict=True):
            if value == -1:
                assert code == -1
            else:
                assert bounds[code] <= value < bounds[code + 1]

    def test_raids_three_ages(self):
        spec = AttributeSpec.from_mapping("age", {"bins": [35, 46], "names": ["<35", "35-45", ">45"]})
        assert spec.encode(pd.Series(["34", "35", "45", "46"]))[0].tolist() == [0, 1, 1, 2]

    @pytest.mark.parametrize("marker", ["", " ", "NULL", "nan", "-1", "n", "not a number"])
    def test_missing_markers_are_no_class(self, marker):
        spec = AttributeSpec.from_mapping("age", {"bins": [30], "missing": ["n"]})
        assert spec.encode(pd.Series(["20", marker]))[0].tolist() == [0, -1]

    def test_values_outside_the_named_classes_are_missing(self):
        spec = AttributeSpec.from_mapping("gender", {"classes": ["F", "M"]})
        assert spec.encode(pd.Series(["M", "F", "x"]))[0].tolist() == [1, 0, -1]

    def test_one_marker_may_stand_alone(self):
        spec = AttributeSpec.from_mapping("gender", {"missing": "unknown"})
        assert spec.encode(pd.Series(["unknown", "F"]))[0].tolist() == [-1, 0]

    def test_numeric_classes_are_sorted_by_value(self):
        assert AttributeSpec("job", "job").encode(pd.Series(["10", "9", "b", "a"]))[1] == ["9", "10", "a", "b"]

    def test_impossible_numbers_are_missing_and_counted(self):
        spec = AttributeSpec.from_mapping("age", {"bins": [30], "range": [5, 100]})
        encoded = spec.encode(pd.Series(["20", "-1337", "244", "5", "100", "old", "", "-1"]))
        assert encoded.codes.tolist() == [0, -1, -1, 0, 1, -1, -1, -1]
        assert encoded.affected == {"impossible": 2, "unknown": 1}

    def test_classes_can_be_merged(self):
        spec = AttributeSpec.from_mapping("shape", {"merge": {"round": ["apple", "pear"]}})
        encoded = spec.encode(pd.Series(["apple", "pear", "hourglass", ""]))
        assert (encoded.codes.tolist(), encoded.classes) == ([1, 1, 0, -1], ["hourglass", "round"])
        assert encoded.affected == {"merged": 2}

    def test_merged_values_can_be_named_classes(self):
        spec = AttributeSpec.from_mapping("g", {"merge": {"F": ["f", "female"]}, "classes": ["F", "M"]})
        encoded = spec.encode(pd.Series(["female", "M", "F", "x"]))
        assert encoded.codes.tolist() == [0, 1, 0, -1]
        assert encoded.affected == {"merged": 1, "unknown": 1}

    def test_users_of_a_small_class_are_missing_and_the_others_keep_their_names(self):
        spec = AttributeSpec.from_mapping("job", {"min_class": 2})
        encoded = spec.encode(pd.Series(["a", "b", "c", "c", "a", ""]))
        assert (encoded.codes.tolist(), encoded.classes) == ([0, -1, 1, 1, 0, -1], ["a", "c"])
        assert encoded.affected == {"small_class": 1}

    @settings(deadline=None)
    @given(st.lists(st.floats(0, 1e6), min_size=4, max_size=60), st.integers(2, 4))
    def test_quantiles_make_ordered_classes_that_all_have_members(self, values, wanted):
        spec = AttributeSpec.from_mapping("income", {"quantiles": wanted})
        codes, names, _ = spec.encode(pd.Series([repr(v) for v in values]))
        assert (codes >= 0).all()
        assert len(set(codes)) == len(names) == len(set(names)) <= wanted
        in_order = codes[np.argsort(values, kind="stable")]
        assert (np.diff(in_order) >= 0).all()
        if len(set(values)) == len(values):
            sizes = np.bincount(codes)
            assert sizes.max() - sizes.min() <= 2

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ({"bins": [46, 35]}, "ascending"),
            ({"bins": [1], "names": ["a"]}, "one more than bins"),
            ({"binz": [1]}, "unknown entry 'binz'"),
            ({"quantiles": 1}, "whole number >= 2"),
            ({"quantiles": 3, "bins": [1]}, "bins and quantiles"),
            ({"bins": [1], "merge": {"a": ["b"]}}, "bins and merge"),
            ({"range": [9, 1]}, "two numbers"),
            ({"min_class": -1}, "whole number >= 0"),
            ({"merge": {"a": ["x"], "b": ["x"]}}, "in two classes"),
            ({"merge": ["a"]}, "must be like"),
            ({"classes": [True, False]}, "quote"),
            ({"classes": ["F", "F"]}, "different texts"),
            ({"bins": [1], "names": ["a", "a"]}, "different texts"),
            ("F", "It must be like"),
        ],
    )
    def test_a_wrong_specification_is_refused(self, entry, message):
        with pytest.raises(ConfigValueError, match=message):
            AttributeSpec.from_mapping("age", entry)


class TestLabels:
    def test_ml100k_has_the_known_counts(self, make_config, ml100k):
        table = load_labels(make_config(attributes=["gender", "age", "age7", "occupation"]), ml100k)
        assert table.labels.shape == (944, 4)
        assert table.counts("gender") == {"F": 273, "M": 670}
        assert sum(table.counts("age").values()) == sum(table.counts("age7").values()) == 943
        assert len(table.classes["occupation"]) == 21
        assert table.counts("occupation")["doctor"] == 7
        assert table.missing("gender") == 0

    def test_the_padding_user_has_no_label(self, make_config, ml100k):
        assert (load_labels(make_config(), ml100k).labels[0] == -1).all()

    def test_labels_belong_to_the_right_users(self, make_config, ml100k):
        table = load_labels(make_config(), ml100k)
        first, second = (ml100k.token2id("user_id", token) for token in ("1", "2"))
        gender = table.classes["gender"]
        assert gender[table.column("gender")[first]] == "M"
        assert gender[table.column("gender")[second]] == "F"

    def test_of_a_user_with_several_lines_the_last_counts_and_who_contradicts_himself_is_counted(
        self, make_config, tmp_path
    ):
        lines = [f"{u}\t{'MF'[u % 2]}" for u in range(12)] + ["0\tF", "1\tF"]
        path = tmp_path / "x.user"
        path.write_text("user_id:token\tgender:token\n" + "\n".join(lines))
        ids = {str(u): u + 1 for u in range(12)}
        table = read_labels(make_config(attributes=["gender"]), path, ids, 13)
        assert table.counts("gender") == {"F": 7, "M": 5}
        assert table.affected == {"gender": {"conflicting_users": 1}}
        assert table.remarks() == ["gender: 1 users have lines that contradict each other; their last line counts"]
        assert table.users.tolist() == [str(u) for u in range(12)]

    def test_users_who_differ_in_blanks_only_are_refused(self, make_config, tmp_path):
        path = tmp_path / "x.user"
        path.write_text("user_id:token\tgender:token\n1\tF\n1 \tM\n2\tF\n2\tM\n")
        with pytest.raises(AttributeDataError, match="1 users differ from others in blanks only"):
            read_labels(make_config(attributes=["gender"]), path, {"1": 1, "2": 2}, 3)

    def test_bins_can_be_given_in_the_configuration(self, make_config, ml100k):
        table = load_labels(make_config(attributes={"age": {"bins": [30], "names": ["young", "old"]}}), ml100k)
        assert list(table.counts("age")) == ["young", "old"]

    @pytest.mark.parametrize(
        ("attributes", "error", "message"),
        [
            (["gendr"], ConfigValueError, "no attribute 'gendr'. Did you mean 'gender'"),
            (["zip_code"], AttributeDataError, "795 classes, .* with fewer than 5 users"),
            ({"age": {"bins": [200]}}, AttributeDataError, "nothing is left to tell apart"),
            ({"age": {"field": "birthday"}}, ConfigValueError, "column 'birthday'"),
            ({"age": 3}, ConfigValueError, "bins: "),
            ({"gender": {"field": "age"}}, AttributeDataError, "swapped. 'gender' has such values: .*field: gender"),
            ({"age": {"field": "gender"}}, AttributeDataError, "'gender' .* possible number. Are columns swapped"),
        ],
    )
    def test_attributes_that_cannot_be_used_are_refused(self, make_config, ml100k, attributes, error, message):
        with pytest.raises(error, match=message) as caught:
            load_labels(make_config(attributes=attributes), ml100k)
        assert "\n" not in str(caught.value)

    def test_users_without_a_row_stay_and_are_missing(self, make_config, tmp_path):
        dataset, config = tiny_dataset(make_config, tmp_path, users=range(1, 13))
        table = load_labels(config, dataset)
        assert dataset.user_num == 16
        assert table.missing("gender") == 3
        assert dataset.inter_num == 30

    @pytest.mark.parametrize(
        "content", [b"", b"user_id:token\tgender:token\n1\tF\tx\ty\n2\t\xe9\n", b"user_id:token\tg\n1\t\xe9"]
    )
    def test_a_broken_user_file_is_named_in_one_line(self, make_config, tmp_path, content):
        dataset, config = tiny_dataset(make_config, tmp_path, users=range(1, 13))
        (tmp_path / "dataset/tiny/tiny.user").write_bytes(content)
        with pytest.raises(AttributeDataError, match=r"tiny\.user' cannot be read") as caught:
            load_labels(config, dataset)
        assert "\n" not in str(caught.value)

    def test_ml1m_has_the_papers_attributes(self, make_config, tmp_path):
        _, config = tiny_dataset(make_config, tmp_path, users=range(1, 13), name="ml-1m")
        specs = {name: AttributeSpec.from_mapping(name, entry) for name, entry in config["attribute_specs"].items()}
        codes = pd.Series(["1", "18", "25", "35", "45", "50", "56"])
        assert specs["age"].encode(codes)[0].tolist() == [0, 0, 0, 1, 2, 2, 2]
        assert specs["age7"].encode(codes)[0].tolist() == [0, 1, 2, 3, 4, 5, 6]

    def test_a_dataset_without_attributes_says_so(self, make_config, tmp_path):
        dataset, config = tiny_dataset(make_config, tmp_path, users=range(1, 13))
        (tmp_path / "dataset/tiny/tiny.user").unlink()
        with pytest.raises(AttributeDataError, match=r"tiny\.user"):
            load_labels(config, dataset)


def tiny_dataset(make_config, tmp_path, users, name="tiny"):
    from recbole_aia.config.aia_config import AIAConfig
    from recbole_aia.data import create_dataset

    folder = tmp_path / "dataset" / name
    folder.mkdir(parents=True)
    lines = [f"{u}\t{i}" for u in range(1, 16) for i in (u % 4, 4 + u % 3)]
    (folder / f"{name}.inter").write_text("user_id:token\titem_id:token\n" + "\n".join(lines) + "\n")
    rows = [f"{u}\t{'FM'[u % 2]}" for u in [*users, 99]]
    (folder / f"{name}.user").write_text("user_id:token\tgender:token\n" + "\n".join(rows) + "\n")
    values = {
        "data_path": str(tmp_path / "dataset"),
        "attributes": ["gender"],
        "show_progress": False,
        "user_inter_num_interval": "[0,inf)",
        "item_inter_num_interval": "[0,inf)",
        "eval_args": {"order": "RO"},
    }
    config = AIAConfig("BPR", name, config_dict=values, argv=[])
    return create_dataset(config), config
