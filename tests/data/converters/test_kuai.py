import pytest

from recbole_aia.errors import RawDataError

SAR_HEADER = (
    "user_id,item_id,playing_time,duration_ms,time,timestamp,click,forward,like,follow,search,search_item_related\n"
)
SAR = SAR_HEADER + (
    "1,10,60792.0,45400.0,2023-05-22 15:53:20,1684742000123.0,1,0,0,0,0,0\n"
    "1,11,0.0,45400.0,2023-05-22 15:53:20,1684742000123.0,0,0,0,0,0,0\n"
    "2,10,1.0,45400.0,2023-05-22 15:53:20,1.6847421e+12,1,0,0,0,0,0\n"
    "2,10,1.0,45400.0,2023-05-22 15:53:20,1684742200000.0,1,1,0,0,0,0\n"
)
SAR_USERS = "user_id,search_active_level,rec_active_level,onehot_feat1,onehot_feat2\n1,2,3,0,1\n2,1,1,6,0\n"


def test_kuaisar_golden(convert):
    made = convert("kuaisar", {"KuaiSAR/rec_inter.csv": SAR, "KuaiSAR/user_features.csv": SAR_USERS}, core=1)
    assert made.inter == [
        "user_id:token\titem_id:token\ttimestamp:float",
        "1\t10\t1684742000.123",
        "2\t10\t1684742200.0",
    ]
    assert made.user == ["user_id:token\tonehot_feat1:token\tonehot_feat2:token", "1\t0\t1", "2\t6\t0"]
    assert made.dropped == {"not clicked": 1, "the same user and item again": 1}
    assert made.account["attributes"]["feat1"]["classes"] == {"0": 1, "6": 1}


def test_kuaisar_with_seconds_for_milliseconds_is_refused(convert):
    files = {"rec_inter.csv": SAR.replace("1684742", "1.684742").replace("1.6847421e+12", "1684742.0")}
    with pytest.raises(RawDataError, match=r"rec_inter\.csv', line 2: timestamp is not a number from 1e\+12"):
        convert("kuaisar", {**files, "user_features.csv": SAR_USERS})


def test_kuairec_golden(convert):
    matrix = (
        "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"
        "14,148,4381,6067,2020-07-05 05:27:48.378,20200705,1593898068.378,0.722\n"
        "14,183,11635,6100,2020-07-05 05:28:00.057,20200705,1593898080.057,1.907\n"
        "19,183,11635,6100,,,,1.907\n"
        "19,148,11635,6100,2020-07-05 05:28:00,20200705,1593898080,1.0\n"
    )
    users = 'user_id,gender,age_range,phone_brand\n14,F,24-30,"a, b"\n19,unknown,18-23,c\n'
    made = convert("kuairec", {"data/big_matrix.csv": matrix, "user_features_raw.csv": users}, core=1)
    assert made.inter == [
        "user_id:token\titem_id:token\ttimestamp:float",
        "14\t183\t1593898080.057",
        "19\t148\t1593898080.0",
    ]
    assert made.user == ["user_id:token\tgender:token\tage_range:token", "14\tF\t24-30", "19\t\t18-23"]
    assert made.dropped == {"not watched to the end": 1, "without a time": 1}
