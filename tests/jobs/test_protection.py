"""A protection that was learned once protects later users, and its file is plain numbers."""

import numpy as np
import pytest

from recbole_aia import Protection, learn_protection, protect
from recbole_aia.errors import AttributeDataError, ConfigValueError


def population(seed, n=400):
    rng = np.random.default_rng(seed)
    gender = rng.choice(["F", "M"], n)
    embeddings = rng.normal(5, 1, size=(n, 6))
    embeddings[:, 0] += 1.5 * (gender == "F")
    return embeddings, gender


def gap(embeddings, gender):
    """How far the classes' means are from each other."""
    return np.linalg.norm(embeddings[gender == "F"].mean(0) - embeddings[gender == "M"].mean(0))


@pytest.fixture(scope="module")
def learned():
    embeddings, gender = population(0)
    return embeddings, gender, *learn_protection(embeddings, {"gender": gender})


def test_the_users_that_it_was_learned_from_are_protected_as_by_protect(learned):
    embeddings, gender, protected, _ = learned
    np.testing.assert_array_equal(protected, protect(embeddings, {"gender": gender}))


def test_one_map_protects_its_own_users_and_later_ones(learned):
    embeddings, _, protected, protection = learned
    np.testing.assert_array_equal(protection.transform(embeddings), protected)


def test_later_users_are_protected_without_labels(learned):
    later, gender = population(1)
    assert gap(later, gender) > 1.2
    assert gap(learned[3].transform(later), gender) < 0.4 * gap(later, gender)


def test_it_says_what_it_was_learned_from(learned):
    report = learned[3].report
    assert report["attributes"]["gender"]["labelled"] == 400
    assert 0.2 < report["attributes"]["gender"]["explained"] < 0.6
    before, after = report["statistics"]
    assert before > 10
    assert after < 1


def test_a_file_gives_the_same_protection(learned, tmp_path):
    later = population(1)[0]
    learned[3].save(tmp_path / "map.npz")
    again = Protection.load(tmp_path / "map.npz")
    np.testing.assert_array_equal(again.transform(later), learned[3].transform(later))
    assert again.report == learned[3].report


def test_a_file_holds_no_numbers_of_single_users(tmp_path):
    shapes = []
    for n in (310, 330):  # as many as give maps of the same number of weights
        learn_protection(*population(0, n), max_steps=2)[1].save(tmp_path / f"{n}.npz")
        with np.load(tmp_path / f"{n}.npz", allow_pickle=False) as arrays:
            shapes.append({name: arrays[name].shape for name in arrays.files if name not in ("format", "report")})
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_vectors_keep_their_type(learned, kind):
    later = population(1)[0].astype(kind)
    assert learned[3].transform(later).dtype == kind


def test_whole_numbers_become_numbers_with_a_fraction(learned):
    later = population(1)[0].round().astype(int)
    protected = learned[3].transform(later)
    assert protected.dtype == np.float64
    assert (protected != later).any(1).all()


def test_a_user_is_protected_alone_as_among_others(learned):
    later = population(1)[0]
    np.testing.assert_allclose(learned[3].transform(later[7:8])[0], learned[3].transform(later)[7], atol=1e-5)


def test_more_users_than_one_part_are_protected_as_at_once(learned, monkeypatch):
    later = population(1)[0]
    at_once = learned[3].transform(later)
    monkeypatch.setattr("recbole_aia.jobs.protection._PART", 150)
    np.testing.assert_allclose(learned[3].transform(later), at_once, atol=1e-5)


@pytest.mark.parametrize(
    ("embeddings", "words"),
    [
        (np.zeros((3, 5)), "5 dimensions, and the map was learned from 6"),
        (np.full((3, 6), np.nan), "not finite"),
        (np.zeros(6), "embeddings"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(learned, embeddings, words):
    with pytest.raises(AttributeDataError, match=words):
        learned[3].transform(embeddings)


def test_a_map_has_its_own_kind_of_file(learned, tmp_path):
    with pytest.raises(ConfigValueError, match=r"must end in \.npz"):
        learned[3].save(tmp_path / "map.bin")
    assert not list(tmp_path.iterdir())


def write_nothing(path):
    path.write_bytes(b"")


def write_text(path):
    path.write_text("no archive")


def write_other_arrays(path):
    np.savez(path, embeddings=np.zeros((3, 2)))


def write_pickle(path):
    np.savez(path, format=np.array([object()], dtype=object))


def write_half(path):
    learn_protection(*population(0, 100), max_steps=1)[1].save(path)
    path.write_bytes(path.read_bytes()[:2000])


def write_without_weights(path):
    learn_protection(*population(0, 100), max_steps=1)[1].save(path)
    with np.load(path) as arrays:
        kept = {name: arrays[name] for name in arrays.files if name != "weights"}
    np.savez(path, **kept)


@pytest.mark.parametrize(
    "write", [write_nothing, write_text, write_other_arrays, write_pickle, write_half, write_without_weights]
)
def test_a_file_that_is_no_map_is_refused(write, tmp_path):
    write(tmp_path / "map.npz")
    with pytest.raises(ConfigValueError, match="is no map of recbole-aia"):
        Protection.load(tmp_path / "map.npz")


def test_a_map_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigValueError, match=r"there is no file '.*gone\.npz'"):
        Protection.load(tmp_path / "gone.npz")
