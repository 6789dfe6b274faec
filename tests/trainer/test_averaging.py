import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from recbole_aia.trainer.averaging import WeightAverage

VALUES = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20)


def line(value):
    layer = nn.Linear(3, 2)
    for parameter in layer.parameters():
        nn.init.constant_(parameter, value)
    return layer


@given(values=VALUES)
def test_weights_are_set_to_the_mean_of_where_they_were(values):
    model = line(values[0])
    average = WeightAverage(model)
    for value in values[1:]:
        average.add()
        for parameter in model.parameters():
            nn.init.constant_(parameter, value)
    average.place()
    for parameter in model.parameters():
        assert parameter.detach().numpy() == pytest.approx(sum(values) / len(values), abs=1e-3)


def test_taking_a_mean_changes_neither_weights_nor_gradients():
    model = line(2.0)
    model(torch.ones(1, 3)).sum().backward()
    before = [(parameter.detach().clone(), parameter.grad.clone()) for parameter in model.parameters()]
    WeightAverage(model).add()
    for parameter, (value, gradient) in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter, value)
        assert torch.equal(parameter.grad, gradient)
