"""``prepare``: tables, their columns, and sizes."""

from bad_rows.making import ACCEPTED, command, pipe, put

INTERACTIONS = "u,p\n" + "".join(f"{k % 9},{k % 5}\n" for k in range(60))
USERS = "u,g\n" + "".join(f"{k},{'ab'[k % 2]}\n" for k in range(9))


def csv(*given, users=USERS, interactions=INTERACTIONS, case=""):
    """A preparation of two tables with further arguments; the last of ``given`` are the words."""
    *arguments, words = given
    fixed = {"--name": "shop", "--interactions": "i.csv", "--users": "u.csv", "--user": "u", "--item": "p"}
    fixed |= {"--raw": ".", "--out": "out", "--attributes": "[g]"}
    rest = [
        f"{key}={value}" for key, value in fixed.items() if not any(each.startswith(f"{key}=") for each in arguments)
    ]

    def make():
        put("i.csv", interactions)
        put("u.csv", users)

    return command(
        "prepare", "csv", *rest, *arguments, words, make=make, case=f"prepare csv {case or ' '.join(arguments)}"
    )


def synthetic(given, words):
    """A synthetic dataset with other sizes."""
    sizes = {"--users": "30", "--items": "20", "--interactions": "200", "--out": "out"} | dict([given.split("=")])
    return command("prepare", "synthetic", *(f"{key}={value}" for key, value in sizes.items()), words)


ROWS = [
    csv(ACCEPTED, case="as it should be"),
    csv("--attributes=[u]", "the attribute 'u' is the column of users itself"),
    csv("--attributes={timestamp: {field: g}}", "an attribute is called 'timestamp'"),
    csv("--attributes={user_id: {field: g}}", "an attribute is called 'user_id'"),
    csv("all users with a value of 'g' are of one class", users=USERS.replace(",b", ",a"), case="one class"),
    csv("--attributes=5", "attributes is 5"),
    csv("--attributes=[]", "attributes is []"),
    csv("--attributes=[g,g]", "attributes is ['g', 'g']"),
    csv("--attributes={g: 5}", "attributes.g is 5"),
    csv("--attributes={g: {bins: [x]}}", "attributes.g.bins is ['x']"),
    csv("--attributes=[nothing]", "nothing"),
    csv("--user=nothing", "nothing"),
    csv("--item=nothing", "nothing"),
    csv("--time=nothing", "nothing"),
    csv("--rating=g", "g"),
    csv("--interactions=nothing.csv", "nothing.csv"),
    csv("--interactions=../i.csv", "Name one in the folder --raw"),
    csv("--users=/etc/passwd", "Name one in the folder --raw"),
    csv("--raw=nowhere", "nowhere"),
    csv("--name=a/b", "name is 'a/b'"),
    csv("--name=..", "name is '..'"),
    csv("--name=a\nb", r"name is 'a\nb'"),
    csv("--encoding=foo", "encoding is 'foo'"),
    csv("--separator=pipe", "invalid choice: 'pipe'"),
    csv("--separator=tab", "there is no column 'u' in the header, which has u,g"),
    csv("--core=0", "core is 0"),
    csv("--core=1000", "nothing is left"),
    csv("--core=x", "invalid int value"),
    csv("--labels=all", "invalid choice: 'all'"),
    csv("--conflicts=first", "invalid choice: 'first'"),
    csv("empty", interactions="", case="interactions empty"),
    csv("empty", users="", case="users empty"),
    csv("is not closed", users=USERS + '9,"a\n', case="quote not closed"),
    csv(ACCEPTED, users="\ufeff" + USERS, case="users with a byte order mark"),
    command(
        "prepare",
        "csv",
        "--name=s",
        "--interactions=i.csv",
        "--user=u",
        "--item=p",
        "--attributes=[g]",
        "--raw=.",
        "'i.csv' is a pipe or a device",
        make=pipe("i.csv"),
        case="prepare csv from a pipe",
    ),
    csv("--what=1", "unknown argument '--what=1'"),
    synthetic("--users=0", "users"),
    synthetic("--users=-5", "users"),
    synthetic("--users=x", "invalid int value"),
    synthetic("--items=0", "items"),
    synthetic("--interactions=0", "interactions"),
    synthetic("--interactions=100000", "interactions"),
    synthetic("--leak=11", "leak"),
    synthetic("--leak=nan", "leak"),
    synthetic("--leak=-1", "leak"),
    synthetic("--seed=-1", "seed"),
    synthetic("--out=/proc/x", "cannot write to '/proc/x'"),
    synthetic("--users=99999999999999999999", "users"),
]
