import json
import shlex

import pytest
from miniatures import write_raw

from recbole_aia.cli import main

ORDERS = "order;product;customer;day;stars\n" + "".join(
    f"{k};p{(u * 7 + k) % 20};c{u};2024-01-{1 + k % 28:02d};{1 + k % 5}\n" for u in range(40) for k in range(6)
)
CUSTOMERS = "customer;sex;born\n" + "".join(f"c{u};{'fm?'[u % 3]};{1950 + u}\n" for u in range(41))
FILES = {"orders.csv": ORDERS, "customers.csv": CUSTOMERS}
COMMAND = [
    "prepare", "csv", "--name=shop", "--raw=raw", "--interactions=orders.csv", "--users=customers.csv",
    "--user=customer", "--item=product", "--time=day", "--rating=stars", "--separator=semicolon",
    "--attributes={sex: {missing: ['?']}, age: {field: born, bins: [1970], range: [1951, 2020]}}",
]  # fmt: skip


def test_any_tables_become_a_dataset_that_runs_with_the_command_that_is_printed(tmp_path, capsys):
    write_raw(tmp_path / "raw", FILES)
    assert main([*COMMAND, "--out=out"]) == 0
    printed = capsys.readouterr().out
    lines = (tmp_path / "out/shop/shop.inter").read_text().splitlines()
    assert lines[:2] == ["user_id:token\titem_id:token\tstars:float\ttimestamp:float", "c0\tp0\t1\t1704067200"]
    assert len(lines) == 241
    users = (tmp_path / "out/shop/shop.user").read_text().splitlines()
    assert users[:4] == ["user_id:token\tsex:token\tborn:token", "c0\tf\t1950", "c1\tm\t1951", "c2\t\t1952"]
    account = json.loads((tmp_path / "out/shop/shop.prepared.json").read_text())
    assert account["attributes"]["sex"] == {"classes": {"f": 14, "m": 13}, "missing": 13}
    assert account["users_without_interactions"] == 1
    command = shlex.split(printed.splitlines()[-1])
    assert command[:3] == ["recbole-aia", "run", "--model=BPR"]
    assert "--defense=calibrated" in command
    short = ["--epochs=1", "--attackers=[logistic]", "--attack_repeats=1", "--attack_jobs=1", "--show_progress=False"]
    assert main([*command[1:-4], "--defense=none", *command[-3:], *short, "--output_dir=run"]) == 0
    results = json.loads((tmp_path / "run/results.json").read_text())
    affected = {"impossible": 1, "raw_impossible": 1, "raw_missing": 1}
    age = {"classes": {"<1970": 19, ">=1970": 20}, "missing": 1, "affected": affected}
    assert results["data"]["attributes"]["age"] == age


def test_attributes_can_stand_in_the_interactions_and_interactions_can_be_bare(tmp_path):
    rows = "u,i,team\n" + "".join(f"{u},{i},{'red' if u % 2 else 'blue'}\n" for u in range(12) for i in range(3))
    write_raw(tmp_path / "raw", {"all.csv": rows})
    assert main(["prepare", "csv", "--name=t", "--raw=raw", "--interactions=all.csv", "--user=u", "--item=i",
                 "--attributes=team"]) == 0  # fmt: skip
    assert (tmp_path / "dataset/t/t.inter").read_text().splitlines()[:2] == ["user_id:token\titem_id:token", "0\t0"]
    assert (tmp_path / "dataset/t/t.user").read_text().splitlines()[1:3] == ["0\tblue", "1\tred"]


def test_names_can_have_quotes_commas_and_brackets_and_columns_that_nobody_asks_for_can_repeat(tmp_path):
    rows = '"the user","item, sold",,\n' + "".join(f"{u},{i},,\n" for u in range(3) for i in range(3))
    users = '"the user","job [of 2]",,\n' + "".join(f"{u},{'ab'[u % 2]},,\n" for u in range(3))
    write_raw(tmp_path / "raw", {"orders [1].csv": rows, "users?.csv": users})
    command = ["prepare", "csv", "--name=t", "--raw=raw", "--interactions=orders [1].csv", "--users=users?.csv"]
    assert main([*command, "--user=the user", "--item=item, sold", '--attributes=["job [of 2]"]']) == 0
    assert (tmp_path / "dataset/t/t.user").read_text().splitlines()[0] == "user_id:token\tjob [of 2]:token"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--name=.."], "name is '..'"),
        (["--interactions=/etc/orders.csv"], "a file is '/etc/orders.csv'. Name one in the folder --raw"),
        (["--users="], "a file is ''"),
        (["--attributes=['sex:token']"], "a column is called 'sex:token'"),
        (["--attributes=[user_id]"], "a column is called 'user_id'"),
        (["--rating=timestamp"], "a column is called 'timestamp'"),
        (["--name=../up"], "name is '../up'. It must consist of letters"),
        (["--attributes=7"], "attributes is 7. It must be like [gender,age]"),
        (["--attributes=[height]"], "customers.csv', line 1: there is no column 'height' in the header, which has"),
        (["--attributes={sex: {binz: 1}}"], "unknown entry 'binz'"),
        (["--item=produkt"], "orders.csv', line 1: there is no column 'produkt'"),
        (["--separator=comma"], "line 1: there is no column 'customer' in the header, which has customer;sex;born"),
        (["--encoding=klingon"], "encoding is 'klingon'"),
        (["--time=product"], "orders.csv', line 2: product is not a number or a date, but 'p0'"),
        (["--users=nowhere.csv"], "there is no 'nowhere.csv' in 'raw'"),
        (["--core=0"], "core is 0"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(change, message, tmp_path, capsys):
    write_raw(tmp_path / "raw", FILES)
    assert main([*COMMAND, *change]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "dataset").exists()
