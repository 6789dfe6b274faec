import pytest

from recbole_aia.errors import RawDataError

MBID = "3bd73256-3905-4f3a-97e2-8b341527f805"
A, B, C, D = (f"{k:040x}" for k in (10, 11, 12, 13))
# Quotes are part of a name and need not balance; a name can be missing its id, be "NULL", or hold a tab.
PLAYS = (
    f"{A}\t{MBID}\tbetty blowtorch\t2137\n"
    f'{A}\t\t"weird al" yankovic\t12\n'
    f'{A}\t\t"opening quote\t3\n'
    f"{A}\t\ttab\there\t4\n"
    f"{A}\t\tNULL\t5\n"
    f"{A}\t{MBID}\tbetty blowtorch (again)\t1\n"
    f"{A}\t\t\t9\n"
    f"{B}\t{MBID}\tbetty blowtorch\tmany\n"
    f"{B}\t{MBID}\tbetty blowtorch\t7\n"
    f"{C}\t{MBID}\tbetty blowtorch\t7\n"
    f"{D}\tshort line\n"
    f"{D}\t{MBID}\tbetty blowtorch\t8\n"
    f"{99:040x}\t{MBID}\tbetty blowtorch\t7\n"
)
PROFILES = (
    f"{A}\tf\t22\tGermany\tFeb 1, 2007\n"
    f"{B}\tm\t-1337\tMexico\tAug 9, 2006\n"
    f"{C}\t\t30\tUnited States\tFeb 1, 2007\n"
    f"{D}\tm\t46\tKorea, Republic of\tFeb 1, 2007\n"
)
FILES = {"usersha1-artmbid-artname-plays.tsv": PLAYS, "usersha1-profile.tsv": PROFILES}


def test_golden(convert):
    made = convert("lastfm-360k", FILES, core=1)
    assert made.inter == [
        "user_id:token\titem_id:token\tplays:float",
        f"{A}\t{MBID}\t2138",
        f'{A}\t\\x{{22}}weird al" yankovic\t12',
        f"{A}\t\\x{{22}}opening quote\t3",
        f"{A}\ttab\\x{{9}}here\t4",
        f"{A}\t\\x{{4e}}ULL\t5",
        f"{D}\t{MBID}\t8",
    ]
    assert made.user == [
        "user_id:token\tgender:token\tage:token\tcountry:token",
        f"{A}\tf\t22\tGermany",
        f"{D}\tm\t46\tKorea, Republic of",
    ]
    assert made.account["files"]["usersha1-artmbid-artname-plays.tsv"] == {
        "rows": 13,
        "malformed": {"2 values instead of 4": 1, "plays is not a number from 0": 1},
        "examples": ["line 11: 2 values instead of 4", "line 8: plays is not a number from 0, but 'many'"],
        "repaired": 1,
    }
    assert made.dropped == {
        "without an item": 1,
        "of users who are not in the table of users": 1,
        "of users without a label": 2,
        "the same user and item again": 1,
    }
    assert made.account["raw"] == {
        "gender": {"missing": 1},
        "age": {"missing": 1, "impossible": 1},
        "country": {"missing": 0},
    }
    assert made.account["escaped_ids"] == {"users": 0, "items": 4}
    assert made.account["attributes"]["age"]["classes"] == {"<35": 1, "35-45": 0, ">45": 1}


def test_all_users_can_be_kept_and_impossible_ages_are_counted(convert):
    made = convert("lastfm-360k", FILES, core=1, labels="none")
    assert made.account["kept"] == {"interactions": 9, "users": 5, "items": 5}
    assert made.account["attributes"]["age"]["affected"] == {"impossible": 1}
    assert made.account["attributes"]["age"]["missing"] == 2
    assert made.account["attributes"]["gender"]["missing"] == 2


def test_rows_of_the_other_lastfm_dataset_are_refused(convert):
    files = {
        **FILES,
        "usersha1-profile.tsv": PROFILES.replace("\tf\t22\t", "\t22\tf\t").replace("\tm\t46\t", "\t46\tm\t"),
    }
    with pytest.raises(RawDataError, match="are the two swapped"):
        convert("lastfm-360k", files)
