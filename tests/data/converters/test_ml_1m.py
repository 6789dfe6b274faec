import pytest

from recbole_aia.errors import RawDataError

# Zip codes are strings, a title is latin-1, occupation 0 is a class of its own, and user 3 never rated.
USERS = "1::F::1::10::48067\n2::M::56::16::02139\n3::M::25::0::55117-1234\n"
RATINGS = "1::1193::5::978300760\n1::661::3::978302109\n2::1193::4::978298413\n"
FILES = {
    "ml-1m/users.dat": USERS,
    "ml-1m/ratings.dat": RATINGS,
    "ml-1m/movies.dat": "661::Misérables, Les (1995)::Drama|Musical\n".encode("latin-1"),
}


def test_golden(convert):
    made = convert("ml-1m", FILES)
    assert made.inter == [
        "user_id:token\titem_id:token\trating:float\ttimestamp:float",
        "1\t1193\t5\t978300760",
        "1\t661\t3\t978302109",
        "2\t1193\t4\t978298413",
    ]
    assert made.user == [
        "user_id:token\tgender:token\tage:token\toccupation:token\tzip_code:token",
        "1\tF\t1\t10\t48067",
        "2\tM\t56\t16\t02139",
    ]
    assert made.account["kept"] == {"interactions": 3, "users": 2, "items": 2}
    assert made.account["users_without_interactions"] == 1
    assert made.account["attributes"]["age7"]["classes"] == {
        "<18": 1, "18-24": 0, "25-34": 0, "35-44": 0, "45-49": 0, "50-55": 0, "56+": 1,
    }  # fmt: skip


def test_windows_line_ends_and_a_missing_last_one_change_nothing(convert):
    files = {name: text.replace("\n", "\r\n").rstrip() for name, text in FILES.items() if isinstance(text, str)}
    made = convert("ml-1m", files)
    assert made.inter[1:] == ["1\t1193\t5\t978300760", "1\t661\t3\t978302109", "2\t1193\t4\t978298413"]
    assert made.user[2] == "2\tM\t56\t16\t02139"


def test_age_and_gender_in_the_wrong_order_are_found_by_their_values(convert):
    swapped = "".join(f"{u}::{a}::{g}::{o}::1\n" for u, g, a, o in [(1, "F", 1, 10), (2, "M", 56, 16)])
    with pytest.raises(RawDataError, match=r"users\.dat', line 1: 'gender' is '1'.* none of F, M.* 'age' has such"):
        convert("ml-1m", {**FILES, "ml-1m/users.dat": swapped})


def test_age_and_occupation_in_the_wrong_order_are_found_by_their_values(convert):
    swapped = "".join(f"{u}::{'FM'[u % 2]}::{u % 21}::{(1, 25, 35, 45, 56)[u % 5]}::1\n" for u in range(1, 50))
    with pytest.raises(RawDataError, match=r"users\.dat', line 1: 'occupation' is '25'.* 'age' has such values"):
        convert("ml-1m", {**FILES, "ml-1m/users.dat": swapped})


def test_rating_and_time_in_the_wrong_order_are_found_by_their_values(convert):
    with pytest.raises(
        RawDataError, match=r"ratings\.dat', line 1: rating is not a number from 1 to 5, but '978300760'"
    ):
        convert("ml-1m", {**FILES, "ml-1m/ratings.dat": "1::1193::978300760::5\n1::661::978302109::3\n"})


def test_ratings_of_other_users_are_refused(convert):
    with pytest.raises(RawDataError, match=r"ratings\.dat', line 1: the user \(an id like 9999\) is not in"):
        convert("ml-1m", {**FILES, "ml-1m/ratings.dat": "7001::1193::5::978300760\n7002::661::3::978302109\n"})


def test_users_and_films_in_the_wrong_order_are_found_by_their_values(convert):
    users = "".join(f"{u}::{'FM'[u % 2]}::25::0::1\n" for u in range(1, 6041))
    swapped = "".join(f"{1 + u % 3706}::{u}::5::978300760\n" for u in range(1, 6041))
    with pytest.raises(RawDataError, match=r"line 3953: item_id is not a number from 1 to 3952, but '3953'.* swapped"):
        convert("ml-1m", {"users.dat": users, "ratings.dat": swapped})
