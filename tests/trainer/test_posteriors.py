"""What vectors say of classes, where they say nothing."""

import pytest
import torch

from recbole_aia.errors import ConfigValueError
from recbole_aia.trainer.posteriors import learn_posteriors, learn_readouts


@pytest.mark.parametrize("learn", [learn_posteriors, learn_readouts])
@pytest.mark.parametrize("value", [0.0, 3.0, float("nan"), float("inf")])
def test_users_at_one_place_are_one_line(learn, value):
    """Towers can die in training, so that all users become the same."""
    labels = torch.arange(60).unsqueeze(1) % 2
    with pytest.raises(ConfigValueError, match="all users are at the same place"):
        learn(torch.full((60, 4), value), labels, ["gender"], 0)
