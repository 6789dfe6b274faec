"""The command ``recbole-aia doctor``."""

import re

from recbole_aia.cli import main


def test_the_doctor_finds_nothing_wrong_here(capsys):
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "all is well" in printed
    assert "ml-100k" in printed


def test_it_says_what_computes_and_how_long_a_product_takes(capsys, device):
    main(["doctor"])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("[ok]   device: "))
    assert re.search(r"CPU, \d+ threads, a product of 2,048 x 2,048 matrices takes [\d.e+]+ ms", line)
    assert ("cuda:0" in line) == (device.type == "cuda")
