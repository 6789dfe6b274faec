"""Model and configuration must agree on the device, or the first batch fails far from the cause."""

import pytest
import torch

from recbole_aia.config.registry import defenses
from recbole_aia.errors import ConfigValueError
from recbole_aia.model import build_model

EVERY = [(name, stage) for name, stages in defenses().items() for stage in stages]


@pytest.mark.parametrize(("defense", "stage"), EVERY)
def test_a_model_that_is_elsewhere_is_said_in_one_line(make_config, split_ml100k, defense, stage):
    config = make_config(defense=defense, stage=stage)
    model = build_model(config, split_ml100k[0].dataset)
    defenses()[defense][stage](config, model)
    config["device"] = torch.device("meta")
    with pytest.raises(ConfigValueError) as caught:
        defenses()[defense][stage](config, model)
    assert str(caught.value) == (
        f"the model is on {next(model.parameters()).device} and config['device'] is meta. "
        "Write model.to(config['device']) first."
    )


def test_a_device_without_a_number_is_any_of_its_kind(make_config, split_ml100k):
    config = make_config()
    model = build_model(config, split_ml100k[0].dataset)
    kind = model.device.type
    for device in (kind, torch.device(kind), torch.device(kind, 0)):
        config["device"] = device
        defenses()["none"]["in"](config, model)
