"""What holds for every dataset: its help, the command that is printed, and its property file."""

import json
import re

import pytest
from miniatures import FILES, write_raw

from recbole_aia.cli import main
from recbole_aia.config.aia_config import AIAConfig
from recbole_aia.data.converters import CONVERTERS
from recbole_aia.data.specs import AttributeSpec


@pytest.mark.parametrize("name", CONVERTERS)
def test_the_help_of_a_dataset_says_where_its_files_are_from(name, capsys):
    with pytest.raises(SystemExit):
        main(["prepare", name, "--help"])
    assert CONVERTERS[name].source in " ".join(capsys.readouterr().out.split())


def test_the_command_prints_the_account_and_a_command_that_runs(tmp_path, capsys):
    write_raw(tmp_path / "raw", FILES)
    assert main(["prepare", "ml-1m", "--raw=raw", "--out=my data"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"ratings\.dat: rows read +1,000", printed)
    assert "F 20, M 20" in printed
    assert "recbole-aia run --model=BPR --dataset=ml-1m '--data_path=my data' --defense=calibrated" in printed
    options = ["--epochs=1", "--attackers=[logistic]", "--attack_repeats=1", "--attack_jobs=1", "--show_progress=False"]
    run = ["run", "--model=BPR", "--dataset=ml-1m", "--data_path=my data", "--attributes=[gender]", "--output_dir=out"]
    assert main([*run, *options]) == 0
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["data"]["attributes"] == {"gender": {"classes": {"F": 20, "M": 20}, "missing": 0}}


@pytest.mark.parametrize("name", CONVERTERS)
def test_the_property_file_of_a_dataset_fits_what_is_prepared(name, tmp_path):
    converter = CONVERTERS[name]
    config = AIAConfig("BPR", name, config_dict={"data_path": str(tmp_path)}, argv=[])
    specs = {name: AttributeSpec.from_mapping(name, entry) for name, entry in config["attribute_specs"].items()}
    timed = any(column in converter.interactions.numbers for column in (converter.time, "timestamp"))
    assert {spec.field for spec in specs.values()} <= set(converter.fields)
    assert set(config["attributes"]) <= set(specs)
    assert config["load_col"]["inter"] == ["user_id", "item_id", *converter.merge, *(["timestamp"] if timed else [])]
    assert config["eval_args"]["order"] == ("TO" if timed else "RO")
