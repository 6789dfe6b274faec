MBID = "a1b2c3d4-0000-4000-8000-000000000001"
PLAYS = (
    f"user_000001\t2009-05-04T23:08:57Z\t{MBID}\tDeep Dish\t\tFuck Me Im Famous (Pacha Ibiza)-09-28-2007\n"
    "user_000001\t2009-05-04T13:54:10Z\t\t坂本龍一\t\tComposition 0919 (Live_2009_4_15)\n"
    f'user_000001\t2009-05-05T10:00:00Z\t{MBID}\tDeep Dish\t\tOther "track\n'
    "user_000001\t2009-05-04T13:52:04Z\t\tstray\ttab\t\tA track\n"
    "user_000002\tyesterday\t\tArtist\t\tTrack\n"
    "user_000002\t2006-08-13T13:59:20Z\t\tArtist\t\tTrack\n"
    "user_000003\t2006-08-13T13:59:20Z\t\tArtist\t\tTrack\n"
)
PROFILES = (
    "#id\tgender\tage\tcountry\tregistered\n"
    "user_000001\tm\t\tJapan\tAug 13, 2006\n"
    "user_000002\tf\t24\t\tFeb 24, 2006\n"
    "user_000003\t\t\t\t\n"
)
FILES = {"userid-timestamp-artid-artname-traid-traname.tsv": PLAYS, "userid-profile.tsv": PROFILES}


def test_golden(convert):
    made = convert("lastfm-1k", FILES, core=1)
    assert made.inter == [
        "user_id:token\titem_id:token\tplays:float\ttimestamp:float",
        f"user_000001\t{MBID}\t2\t1241517600",
        "user_000001\t坂本龍一\t1\t1241445250",
        "user_000002\tArtist\t1\t1155477560",
    ]
    assert made.user == [
        "user_id:token\tgender:token\tage:token\tcountry:token",
        "user_000001\tm\t\tJapan",
        "user_000002\tf\t24\t",
    ]
    assert made.account["files"]["userid-timestamp-artid-artname-traid-traname.tsv"]["malformed"] == {
        "7 values instead of 6": 1,
        "timestamp is not a time such as 1970-01-01T00:00:00Z": 1,
    }
    assert made.dropped == {"of users without a label": 1, "the same user and item again": 1}
    assert made.account["attributes"]["age"]["missing"] == 1
