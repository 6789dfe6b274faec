import hashlib
import itertools

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.data import create_dataset, load_labels, prepare_loaders, synthetic
from recbole_aia.data.synthetic import GROUP, Planted, activity, generate, write
from recbole_aia.errors import ConfigValueError

# Sizes at which every branch is taken: plain, one each, fewer than five each, half of all items each, items that
# nobody chooses, tastes for next to one genre, fewer items than genres.
REQUESTS = {
    "plain": (800, 300, 20_000, 1.0),
    "one each": (50, 40, 50, 1.0),
    "three each": (100, 50, 370, 1.0),
    "half of all items": (60, 41, 1_200, 1.0),
    "nearly half of all items": (60, 200, 5_900, 3.0),
    "one for every item": (100, 3_000, 3_000, 1.0),
    "one genre each": (400, 300, 8_000, 10.0),
    "two items": (20, 2, 20, 1.0),
}


@pytest.fixture(scope="module")
def plain():
    return generate(2_000, 500, 60_000, seed=1)


def profiles(data):
    """Rows of users who bought each item, of unit length."""
    matrix = np.zeros((len(data.labels), data.items.max() + 1))
    matrix[data.users, data.items] = 1
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def raw_auc(data):
    classifier = LogisticRegression(C=1.0, max_iter=500)
    labels = data.labels[:, 0]
    scores = cross_val_predict(classifier, profiles(data), labels, cv=3, method="decision_function")
    return roc_auc_score(labels, scores)


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_it_makes_exactly_what_was_asked_for(request_):
    n_users, n_items, n, leak = request_
    data = generate(n_users, n_items, n, leak=leak)
    activity = np.bincount(data.users)
    assert len(data.users) == len(data.items) == len(data.timestamps) == n
    assert len(set(zip(data.users.tolist(), data.items.tolist(), strict=True))) == n
    assert set(data.users) == set(range(n_users))
    assert set(data.items) == set(range(n_items))
    assert activity.min() >= min(5, n // n_users)
    assert activity.max() <= n_items // 2
    assert (np.diff(data.users) >= 0).all()
    assert data.labels.shape == (n_users, 1)
    assert data.labels.dtype == np.int8


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_blocks_that_are_drawn_one_by_one_make_what_was_asked_for(request_, mapped, monkeypatch, tmp_path):
    *sizes, leak = request_
    whole = generate(*sizes, leak=leak)
    monkeypatch.setattr(synthetic, "_BLOCK", 300)
    data = generate(*sizes, leak=leak, folder=tmp_path if mapped else None)
    assert isinstance(data.items, np.memmap) == mapped
    np.testing.assert_array_equal(data.users, whole.users)
    np.testing.assert_array_equal(data.labels, whole.labels)
    np.testing.assert_array_equal(activity(data), np.bincount(whole.users))
    assert len(set(zip(data.users.tolist(), data.items.tolist(), strict=True))) == sizes[2]
    assert set(data.items.tolist()) == set(range(sizes[1]))
    assert set(data.timestamps.tolist()) <= set(range(sizes[2]))


def test_blocks_show_the_leak_as_one_draw_does(monkeypatch):
    monkeypatch.setattr(synthetic, "_BLOCK", 2_000)
    blocks = generate(1_500, 300, 45_000, seed=3)
    assert 0.65 < raw_auc(blocks) < 0.921
    popularity = [np.bincount(part, minlength=300) for part in np.array_split(blocks.items, 2)]
    assert np.corrcoef(popularity)[0, 1] > 0.9


def test_shards_are_the_dataset_of_the_text(monkeypatch, tmp_path):
    data = generate(50, 40, 500, seed=2)
    monkeypatch.setattr(synthetic, "_BLOCK", 90)
    datasets = []
    for kind in ("text", "shards"):
        write(data, tmp_path / kind, shards=kind == "shards")
        config = AIAConfig("BPR", "synthetic", config_dict={"data_path": str(tmp_path / kind)}, argv=[])
        datasets.append(create_dataset(config))
    assert datasets[0].numbering.digest == datasets[1].numbering.digest
    assert not (tmp_path / "shards" / "synthetic" / "synthetic.inter").exists()


def test_three_users_in_ten_are_of_the_second_class(plain):
    assert np.bincount(plain.labels[:, 0]).tolist() == [1_400, 600]


def test_few_users_and_few_items_have_most_interactions(plain):
    activity, popularity = np.bincount(plain.users), np.bincount(plain.items)
    assert activity.max() > 8 * np.median(activity)
    assert popularity.max() > 5 * np.median(popularity)
    assert np.corrcoef(np.arange(500), popularity)[0, 1] ** 2 < 0.05


def test_the_same_seed_gives_the_same_data_and_another_one_other_data(plain):
    again, other = generate(2_000, 500, 60_000, seed=1), generate(2_000, 500, 60_000, seed=2)
    for field in ("users", "items", "timestamps", "labels"):
        np.testing.assert_array_equal(getattr(plain, field), getattr(again, field))
        assert (getattr(plain, field) != getattr(other, field)).any()


def test_timestamps_order_the_interactions_whatever_the_item(plain):
    assert sorted(plain.timestamps.tolist()) == list(range(60_000))
    assert np.abs(np.corrcoef([plain.timestamps, plain.users, plain.items])[0, 1:]).max() < 0.02


@pytest.mark.parametrize(
    ("request_", "digest"),
    [((300, 120, 4_000, 1.0), "dc5e1f71ed9d787c"), ((1_001, 3_000, 20_000, 0.5), "7a267ea2e4b4b78a")],
)
def test_the_files_are_bit_for_bit_those_of_earlier_versions(request_, digest, tmp_path):
    *sizes, leak = request_
    write(generate(*sizes, leak=leak), tmp_path)
    found = hashlib.sha256()
    for file in sorted((tmp_path / "synthetic").iterdir()):
        found.update(file.read_bytes())
    assert found.hexdigest()[:16] == digest


def test_several_attributes_have_the_wanted_classes_and_show_in_the_items_each_on_its_own():
    wanted = (Planted("age", ("young", "middle", "old"), (5, 3, 2)), GROUP, Planted("sex", ("f", "m"), (1, 1)))
    data = generate(2_000, 400, 60_000, leak=1.5, seed=1, attributes=wanted)
    ages, groups, sexes = data.labels.T
    assert np.bincount(ages).tolist() == [1_000, 600, 400]
    assert np.bincount(groups).tolist() == [1_400, 600]
    assert np.bincount(sexes).tolist() == [1_000, 1_000]
    assert np.abs(np.corrcoef(data.labels.T) - np.eye(3)).max() < 0.05
    matrix, classifier = profiles(data), LogisticRegression(C=1.0, max_iter=500)
    for labels in (groups, sexes, ages == 2):
        scores = cross_val_predict(classifier, matrix, labels, cv=3, method="decision_function")
        assert roc_auc_score(labels, scores) > 0.75
    # The middle class stands between the others.
    old_from_young = classifier.fit(matrix[ages != 1], ages[ages != 1] == 2).decision_function(matrix)
    young, middle, old = (old_from_young[ages == k].mean() for k in range(3))
    assert young < middle < old
    assert (middle - young) / (old - young) == pytest.approx(0.5, abs=0.15)


def test_users_have_at_least_the_fewest_interactions_that_are_asked_for():
    assert np.bincount(generate(100, 200, 5_000, fewest=45).users).min() == 45


def test_no_leak_means_that_items_and_activity_are_independent_of_the_class():
    data = generate(2_000, 300, 60_000, leak=0.0, seed=1)
    # The class means of the unit profiles against those of shuffled classes.
    matrix, rng = profiles(data), np.random.default_rng(0)

    def distance(labels):
        return np.linalg.norm(matrix[labels == 1].mean(axis=0) - matrix[labels == 0].mean(axis=0))

    shuffled = [distance(rng.permutation(data.labels[:, 0])) for _ in range(50)]
    assert distance(data.labels[:, 0]) < np.max(shuffled)
    assert 0.45 < raw_auc(data) < 0.55
    assert 0.45 < roc_auc_score(data.labels[:, 0], np.bincount(data.users)) < 0.55


def test_a_greater_leak_is_easier_to_find_and_never_beyond_what_the_tastes_tell():
    aucs = [raw_auc(generate(1_500, 300, 45_000, leak=leak, seed=3)) for leak in (0.0, 0.5, 1.0, 2.0)]
    assert all(later > earlier + 0.05 for earlier, later in itertools.pairwise(aucs))
    for leak_auc, bound in zip(aucs[1:], (0.760, 0.921, 0.998), strict=True):
        assert leak_auc < bound


def test_the_leak_changes_neither_classes_nor_activity(plain):
    other = generate(2_000, 500, 60_000, leak=0.3, seed=1)
    np.testing.assert_array_equal(plain.labels, other.labels)
    np.testing.assert_array_equal(np.bincount(plain.users), np.bincount(other.users))


def test_users_have_tastes_for_a_recommender_to_learn():
    data = generate(1_000, 200, 30_000, leak=0.0)
    known = np.zeros((1_000, 200))
    order = np.argsort(data.timestamps)
    last = dict(zip(data.users[order].tolist(), data.items[order].tolist(), strict=True))
    known[data.users, data.items] = 1
    users, held_out = np.array(list(last.items())).T
    known[users, held_out] = 0
    popularity, lengths = known.sum(axis=0), np.linalg.norm(known, axis=1, keepdims=True)
    left, values, right = np.linalg.svd(known / lengths, full_matrices=False)

    def hits(scores):
        rivals = np.where(known > 0, -np.inf, scores)[users]
        return ((rivals > rivals[np.arange(1_000), held_out][:, None]).sum(axis=1) < 10).mean()

    by_taste, by_popularity = left[:, :15] * values[:15] @ right[:15], np.broadcast_to(popularity, known.shape)
    assert hits(by_taste) > 1.5 * hits(by_popularity)


@pytest.mark.parametrize(
    ("sizes", "options", "message"),
    [
        ((19, 50, 100), {}, "users is 19"),
        ((100, 1, 100), {}, "items is 1"),
        ((100, 50, 99), {}, "between 100, one for each, and 2500"),
        ((100, 500, 499), {}, "between 500, one for each"),
        ((100, 50, 2501), {}, "half of the items"),
        ((10**12, 50, 10**13), {}, "users is 1000000000000"),
        ((100, 50, 1000), {"leak": -0.1}, "leak is -0.1"),
        ((100, 50, 1000), {"leak": float("nan")}, "leak is nan"),
        ((100, 50, 1000), {"seed": -1}, "seed is -1"),
        ((100, 2, 100), {"attributes": (GROUP, GROUP)}, "items is 2. It must be between 3"),
        ((100, 50, 1000), {"attributes": ()}, "0 attributes cannot be planted"),
        ((100, 50, 1000), {"attributes": (GROUP,) * 16}, "16 attributes cannot be planted"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_in_one_line(sizes, options, message):
    with pytest.raises(ConfigValueError, match=message) as caught:
        generate(*sizes, **options)
    assert "\n" not in str(caught.value)


def test_the_written_files_load_in_recbole_with_the_planted_numbers(tmp_path):
    data = generate(300, 120, 4_000)
    write(data, tmp_path)
    config = AIAConfig("BPR", "synthetic", config_dict={"data_path": str(tmp_path)}, argv=[])
    dataset = create_dataset(config)
    assert (dataset.user_num - 1, dataset.item_num - 1, dataset.inter_num) == (300, 120, 4_000)
    labels = load_labels(config, dataset)
    assert labels.summary() == {"group": {"classes": {"a": 210, "b": 90}, "missing": 0}}
    column = labels.column("group").numpy()
    tokens = dataset.id2token("user_id", np.arange(1, 301)).astype(int)
    np.testing.assert_array_equal(column[1:], data.labels[tokens - 1, 0])
    _, _, test_data = prepare_loaders(config, dataset)
    # The last interaction of each user is tested.
    tested = test_data.dataset.inter_feat
    latest = np.full(300, -1)
    np.maximum.at(latest, data.users, data.timestamps)
    users = dataset.id2token("user_id", tested["user_id"].numpy()).astype(int) - 1
    np.testing.assert_array_equal(tested["timestamp"].numpy(), latest[users])


def test_writing_the_same_data_again_leaves_the_files_as_they_are(tmp_path):
    write(generate(50, 40, 500), tmp_path)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "synthetic").iterdir()}
    write(generate(50, 40, 500), tmp_path)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "synthetic").iterdir()} == before


def test_other_data_are_never_overwritten(tmp_path):
    write(generate(50, 40, 500), tmp_path)
    file = tmp_path / "synthetic" / "synthetic.inter"
    before = file.read_bytes()
    with pytest.raises(ConfigValueError, match="holds something else"):
        write(generate(50, 40, 500, seed=1), tmp_path)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["synthetic"]


def test_a_failure_half_way_leaves_nothing_behind(tmp_path, monkeypatch):
    def full_disk(frame, path, **_):
        path.write_text("half")
        if path.suffix == ".inter":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("pandas.DataFrame.to_csv", full_disk)
    with pytest.raises(ConfigValueError, match="No space left on device"):
        write(generate(50, 40, 500), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_a_file_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigValueError, match="cannot write to"):
        write(generate(50, 40, 500), tmp_path / "taken")
