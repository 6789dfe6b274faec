import json

import pytest

from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.data import create_dataset, load_labels
from recbole_aia.data.converters.tokens import original
from recbole_aia.errors import AttributeDataError

HEADER = "item_id,user_id,rating,timestamp,size,fit,user_attr,model_attr,category,brand,year,split\n"
TAIL = ",2.0,Slightly small,{},Small,Dresses,,2012,0\n"


def row(item, user, rating, time, shape):
    name = '"' + user.replace('"', '""') + '"' if set(user) & set('",\n') else user
    return f"{item},{name},{rating},{time}" + TAIL.format(shape)


# Names: emoji, quotes, a comma, a line end, nobody. One user says Small twice and Large once, another each once.
ROWS = [
    row(1, "Алиса 😀", 5, "2010-09-08 08:22:37.509000+00:00", "Small"),
    row(2, "Алиса 😀", 4, "2010-09-08 08:22:38+00:00", "Large"),
    row(3, "Алиса 😀", 4, "2010-09-07 00:00:00+00:00", "Small"),
    row(1, 'Jo "The Hat", Jr.', 3, "2011-01-01 00:00:00+00:00", "Large"),
    row(2, 'Jo "The Hat", Jr.', 3, "2011-01-02 00:00:00+00:00", "Small"),
    row(1, "two\nlines", 2, "2011-01-01 00:00:00+00:00", "Large"),
    row(2, "two\nlines", 2, "2011-01-01 00:00:00+00:00", ""),
    row(1, "", 2, "2011-01-01 00:00:00+00:00", "Small"),
    row(2, "silent", 2, "2011-01-01 00:00:00+00:00", ""),
    row(1, "stars", 9, "2011-01-01 00:00:00+00:00", "Small"),
]
MODCLOTH = HEADER + "".join(ROWS)


@pytest.mark.parametrize(
    ("policy", "shapes", "conflicts"),
    [
        ("majority", {"Алиса 😀": "Small", "two\nlines": "Large"}, {"users": 2, "no_majority": 1}),
        ("last", {"Алиса 😀": "Large", 'Jo "The Hat", Jr.': "Small", "two\nlines": "Large"}, {"users": 2}),
        ("drop", {"two\nlines": "Large"}, {"users": 2}),
    ],
)
def test_modcloth_golden_users_who_contradict_themselves(convert, policy, shapes, conflicts):
    made = convert("modcloth", {"df_modcloth.csv": MODCLOTH}, core=1, conflicts=policy)
    assert made.user[0] == "user_id:token\tuser_attr:token"
    assert {original(line.split("\t")[0]): line.split("\t")[1] for line in made.user[1:]} == shapes
    assert made.account["attributes"]["body_shape"]["conflicts"] == conflicts
    assert made.dropped["without a user"] == 1
    file = made.account["files"]["df_modcloth.csv"]
    assert file["malformed"] == {"rating is not a number from 1 to 5": 1}
    assert file["examples"] == ["line 13: rating is not a number from 1 to 5, but '9'"]
    assert file["rows"] == 10 == 1 + sum(made.dropped.values()) + made.account["kept"]["interactions"]


def test_users_who_contradict_themselves_are_counted_in_the_labels_of_a_run(convert, tmp_path):
    rows = [row(i, f"u{u}", 5, "2011-01-01", "Small" if (u + i * (u < 3)) % 2 else "Large")
            for u in range(16) for i in range(3)]  # fmt: skip
    convert("modcloth", {"df_modcloth.csv": HEADER + "".join(rows)}, core=1)
    config = AIAConfig("BPR", "modcloth", config_dict={"data_path": str(tmp_path / "out")}, argv=[])
    summary = load_labels(config, create_dataset(config)).summary()["body_shape"]
    assert sum(summary["classes"].values()) == 16
    assert summary["affected"] == {"conflicting_users": 3}
    (tmp_path / "out/modcloth/modcloth.prepared.json").write_text("[]")
    with pytest.raises(AttributeDataError, match=r"modcloth\.prepared\.json' is not what 'recbole-aia prepare' wrote"):
        load_labels(config, create_dataset(config))


def test_modcloth_golden_interactions(convert):
    made = convert("modcloth", {"df_modcloth.csv": MODCLOTH}, core=1)
    assert made.inter == [
        "user_id:token\titem_id:token\trating:float\ttimestamp:float",
        "Алиса 😀\t1\t5\t1283934157.509",
        "Алиса 😀\t2\t4\t1283934158.0",
        "Алиса 😀\t3\t4\t1283817600.0",
        "two\\x{a}lines\t1\t2\t1293840000.0",
        "two\\x{a}lines\t2\t2\t1293840000.0",
    ]


def test_renttherunway_golden_keys_can_be_absent_and_measures_are_texts(convert):
    records = [
        {"fit": "fit", "user_id": "420272", "item_id": "2260466", "weight": "137lbs", "rating": "10", "size": 14,
         "body type": "hourglass", "height": "5' 8\"", "age": "28", "review_date": "April 20, 2016"},
        {"user_id": "273551", "item_id": "153475", "height": "6' 0\"", "age": "136", "body type": "pear",
         "review_date": "June 18, 2013"},
        {"user_id": "909926", "item_id": "153475", "review_date": "February 12, 2014"},
        {"user_id": "420272", "item_id": "153475", "body type": "hourglass", "age": "29", "weight": None,
         "height": "5' 8\"", "review_date": "April 21, 2016"},
        {"user_id": "420272", "item_id": "1", "age": "29", "review_date": "spring"},
    ]  # fmt: skip
    lines = "".join(json.dumps(record) + "\n" for record in records) + "{broken\n[1]\n"
    made = convert("renttherunway", {"renttherunway_final_data.json": lines}, core=1, labels="some", conflicts="last")
    assert made.inter == [
        "user_id:token\titem_id:token\ttimestamp:float",
        "420272\t2260466\t1461110400",
        "273551\t153475\t1371513600",
        "420272\t153475\t1461196800",
    ]
    assert made.user == [
        "user_id:token\tbody_type:token\tage:token\theight:token\tweight:token",
        "420272\thourglass\t29\t68\t137",
        "273551\tpear\t136\t72\t",
    ]
    assert made.account["files"]["renttherunway_final_data.json"]["malformed"] == {
        "no JSON object": 2,
        "review_date is not a time such as January 01, 1970": 1,
    }
    assert made.account["attributes"]["age"]["affected"] == {"impossible": 1}
