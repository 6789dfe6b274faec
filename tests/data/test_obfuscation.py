"""Obfuscated profiles: what is added and removed, to whom, and how much."""

import numpy as np
import pytest
import scipy.sparse as sp

from recbole_aia.data.obfuscation import additions, balancing_counts, own_strengths, removals, telling_items

N_USERS, N_ITEMS = 200, 40


def planted(seed=0):
    """Class 0 has items 0 to 9 more often, class 1 items 10 to 19; the others say nothing, and nobody has item 39."""
    rng = np.random.default_rng(seed)
    labels = np.arange(N_USERS) % 2
    chance = np.full((N_USERS, N_ITEMS), 0.3)
    chance[labels == 0, :10] = 0.6
    chance[labels == 1, 10:20] = 0.6
    chance[:, 39] = 0
    return sp.csr_matrix((rng.random(chance.shape) < chance).astype(float)), labels


def told(profiles, labels):
    columns = labels[:, None] if labels.ndim == 1 else labels
    return columns, {a: telling_items(profiles, columns[:, a]) for a in range(columns.shape[1])}


def added_to(pairs, user):
    return pairs[pairs[:, 0] == user, 1]


def test_items_of_a_class_speak_for_it_and_against_the_other():
    profiles, labels = planted()
    strengths = telling_items(profiles, labels)
    assert (strengths[0, :10] > 0).all()
    assert (strengths[0, 10:20] < 0).all()
    assert np.array_equal(strengths[0], -strengths[1])
    assert strengths[0, 39] == 0
    assert strengths[0, :10].mean() > np.abs(strengths[0, 20:39]).mean()


@pytest.mark.parametrize("choose", ["greedy", "sampled", "random"])
@pytest.mark.parametrize("variant", [{}, {"most_popular": 2.0}, {"neighbors": 30}])
def test_added_items_are_unseen_speak_against_the_class_and_keep_the_budget(choose, variant):
    profiles, labels = planted()
    columns, tells = told(profiles, labels)
    pairs = additions(profiles, columns, tells, 0.2, choose, **variant)
    assert len(np.unique(pairs, axis=0)) == len(pairs) > 0
    for user, item in pairs:
        assert profiles[user, item] == 0
        assert tells[0][labels[user], item] < 0
    for user in range(N_USERS):
        assert len(added_to(pairs, user)) <= round(0.2 * profiles[user].nnz)


def test_greedy_takes_the_items_that_speak_loudest_and_fills_the_budget():
    profiles, labels = planted()
    columns, tells = told(profiles, labels)
    pairs = additions(profiles, columns, tells, 0.1)
    for user in range(N_USERS):
        free = np.where(profiles[user].toarray()[0] > 0, np.inf, tells[0][labels[user]])
        expected = np.argsort(free, kind="stable")[: round(0.1 * profiles[user].nnz)]
        assert set(added_to(pairs, user)) == set(expected)


def test_popularity_at_most_doubles_where_it_is_asked():
    profiles, labels = planted()
    columns, tells = told(profiles, labels)
    popularity = np.asarray(profiles.sum(0)).ravel()
    for cap, within in ((None, False), (1.1, True)):
        pairs = additions(profiles, columns, tells, 0.3, most_popular=cap)
        grown = popularity + np.bincount(pairs[:, 1], minlength=N_ITEMS)
        assert (grown <= 1.1 * popularity).all() == within


def test_items_of_neighbors_are_personal():
    """Two tastes that have nothing to do with the class: users get items of their own taste alone."""
    rng = np.random.default_rng(1)
    labels, taste = np.arange(N_USERS) % 2, (np.arange(N_USERS) // 2) % 2
    chance = np.zeros((N_USERS, N_ITEMS))
    chance[taste == 0, :20], chance[taste == 1, 20:] = 0.5, 0.5
    for start in (0, 20):
        for k in (0, 1):
            chance[labels == k, start + 5 * k : start + 5 * k + 5] *= 1.6
    profiles = sp.csr_matrix((rng.random(chance.shape) < chance).astype(float))
    columns, tells = told(profiles, labels)
    own = {}
    for neighbors in (None, 20):
        pairs = additions(profiles, columns, tells, 0.3, "random", neighbors=neighbors)
        own[neighbors] = np.mean((pairs[:, 1] >= 20) == taste[pairs[:, 0]])
    assert own[20] == 1
    assert own[None] < 0.7


def test_several_attributes_are_hidden_at_once_and_who_has_no_label_is_left_alone():
    profiles, gender = planted()
    other = np.random.default_rng(3).integers(0, 3, N_USERS)
    labels = np.stack([gender, other], axis=1)
    labels[:20], labels[20:40, 1] = -1, -1
    _, tells = told(profiles, labels)
    pairs = additions(profiles, labels, tells, 0.1)
    assert not (pairs[:, 0] < 20).any()
    for user, item in pairs:
        assert own_strengths(tells, labels[user])[item] < 0
    assert {user for user, _ in pairs} >= set(range(20, N_USERS))


def test_an_attacker_who_learned_from_clean_profiles_is_misled():
    from sklearn.linear_model import LogisticRegression

    profiles, labels = planted()
    columns, tells = told(profiles, labels)
    attacker = LogisticRegression().fit(profiles, labels)
    found = []
    for share in (0.0, 0.3):
        blurred = profiles.tolil()
        for user, item in additions(profiles, columns, tells, share):
            blurred[user, item] = 1
        found.append(attacker.score(blurred.tocsr(), labels))
    assert found[0] > 0.8
    assert found[1] < found[0] - 0.3


def test_what_is_removed_tells_most_and_something_stays():
    profiles, labels = planted()
    columns, tells = told(profiles, labels)
    counts = np.full(N_USERS, 3)
    counts[0] = 1000
    pairs = removals(profiles, columns, tells, counts)
    assert (profiles[pairs[:, 0], pairs[:, 1]] == 1).all()
    assert len(added_to(pairs, 0)) == profiles[0].nnz - 1
    for user in range(1, N_USERS):
        own, gone = profiles[user].indices, added_to(pairs, user)
        kept = np.setdiff1d(own, gone)
        assert len(gone) == 3
        assert tells[0][labels[user], gone].min() >= tells[0][labels[user], kept].max()
    random = removals(profiles, columns, None, counts)
    assert len(random) == len(pairs)
    assert not np.array_equal(random, pairs)


def test_long_profiles_lose_what_was_added_in_all():
    profiles, _ = planted()
    lengths = np.diff(profiles.indptr)
    counts = balancing_counts(profiles, 100)
    assert counts.sum() == 100
    assert (counts[lengths <= lengths.mean()] == 0).all()
    assert (counts <= lengths).all()
    assert balancing_counts(profiles, 10**6).sum() <= np.maximum(lengths - lengths.mean(), 0).sum()


def test_equal_seeds_choose_equally():
    profiles, labels = planted()
    columns, tells = told(profiles, labels)
    first, again, other = (additions(profiles, columns, tells, 0.2, "sampled", seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
