import pytest

from recbole_aia.errors import RawDataError

DEMO = "alice\tDE\t25\tf\t2013-01-01\nbob\tUS\t40\tm\t2013-01-01\nbroken line\ncarol\tUK\t-1\tf\t2012-05-05\n"
INTER = "0\t17\t3\n0\t99\t2\n1\t17\t1\n3\t17\t4\n1\t17\t5\n1\t5\t0.5\n"


def test_lfm_2b_golden_users_are_numbered_by_their_lines(convert):
    made = convert("lfm-2b", {"inter.tsv": INTER, "demo.tsv": DEMO}, core=1, labels="some")
    assert made.inter == [
        "user_id:token\titem_id:token\tplays:float",
        "0\t17\t3.0",
        "0\t99\t2.0",
        "1\t17\t6.0",
        "3\t17\t4.0",
        "1\t5\t0.5",
    ]
    assert made.user == [
        "user_id:token\tgender:token\tage:token\tcountry:token",
        "0\tf\t25\tDE",
        "1\tm\t40\tUS",
        "3\tf\t\tUK",
    ]


def test_the_files_of_lfm_2b_may_have_longer_names(convert):
    made = convert("lfm-2b", {"data/lfm_inter_5core.tsv": INTER, "data/lfm_demo.tsv": DEMO}, core=1)
    assert made.account["kept"] == {"interactions": 4, "users": 2, "items": 3}


def test_lfm_2b_with_age_and_gender_swapped_is_refused(convert):
    with pytest.raises(RawDataError, match=r"demo\.tsv', line 1: 'gender' is '25'.*'age' has such values"):
        convert("lfm-2b", {"inter.tsv": INTER, "demo.tsv": "alice\tDE\tf\t25\tx\nbob\tUS\tm\t40\tx\n"})


def test_lfm_1b_golden_events_become_plays(convert):
    users = (
        "user_id\tcountry\tage\tgender\tplaycount\tregistered_unixtime\n"
        "384\tUK\t35\tm\t42139\t1035849600\n1206\t\t-1\tn\t33103\t1035849601\n2622\tUS\t244\tf\t1\t1\n"
    )
    events = (
        "384\t5\t1\t1\t1385212958\n384\t5\t1\t2\t1385212642\n384\t7\t1\t1\t1385212642\n"
        "1206\t5\t1\t1\t1\n2622\t5\t1\t1\t1\n"
    )
    files = {"LFM-1b_users.txt": users, "LFM-1b_LEs.txt": events}
    made = convert("lfm-1b", files, core=1)
    assert made.inter == [
        "user_id:token\titem_id:token\tplays:float\ttimestamp:float",
        "384\t5\t2\t1385212958",
        "384\t7\t1\t1385212642",
    ]
    assert made.user == ["user_id:token\tgender:token\tage:token\tcountry:token", "384\tm\t35\tUK"]
    assert made.dropped == {"of users without a label": 2, "the same user and item again": 1}
