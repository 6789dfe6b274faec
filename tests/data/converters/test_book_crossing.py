# Semicolons, quotes with backslash escapes, CRLF, cp1252, an unquoted NULL, an unbalanced quote, an age of 244.
USERS = (
    '"User-ID";"Location";"Age"\r\n'
    '"1";"nyc, new york, usa";NULL\r\n'
    '"2";"málaga; \\"costa\\", spain";"18"\r\n'
    '"3";"broken, "moscow, russia";"30"\r\n'
    '"4";"unbalanced, porto, portugal;"17"\r\n'
    '"5";"somewhere";"244"\r\n'
    '"6";"köln, germany";"46"\r\n'
).encode("cp1252")
RATINGS = (
    '"User-ID";"ISBN";"Book-Rating"\r\n'
    '"2";"034545104X";"0"\r\n'
    '"2";"0155061224";"5"\r\n'
    '"6";"034545104X";"10"\r\n'
    '"6";"034545104x";"11"\r\n'
    '"1";"034545104X";"3"\r\n'
    '"5";"034545104X";"3"\r\n'
    '"6";"ISBN\\"odd";"7"\r\n'
    '"4";"034545104X";"3"\r\n'
).encode("cp1252")


def test_golden(convert):
    made = convert("book-crossing", {"BX-Users.csv": USERS, "BX-Book-Ratings.csv": RATINGS}, core=1)
    assert made.inter == [
        "user_id:token\titem_id:token\trating:float",
        "2\t034545104X\t0",
        "2\t0155061224\t5",
        "6\t034545104X\t10",
        '6\tISBN"odd\t7',
    ]
    assert made.user == [
        "user_id:token\tage:token\tlocation:token",
        '2\t18\tmálaga; "costa", spain',
        "6\t46\tköln, germany",
    ]
    users = made.account["files"]["BX-Users.csv"]
    assert users["rows"] == 6
    assert users["examples"] == ["line 5: 2 values instead of 3"]
    assert made.account["users_without_interactions"] == 3
    assert made.dropped == {"of users without a label": 2, "of users who are not in the table of users": 1}
