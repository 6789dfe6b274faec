import pytest
import torch

from recbole_aia.model.lookup import Lookup

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


@pytest.mark.parametrize("device", DEVICES)
def test_rows_and_their_gradients_are_those_of_indexing(device):
    table = torch.randn(30, 5, device=device, dtype=torch.double, requires_grad=True)
    places = torch.randint(0, 20, (100,), device=device)  # the last ten rows are nobody's
    weights = torch.randn(100, 5, device=device, dtype=torch.double)
    found, expected = Lookup(places, 30)(table), table[places]
    assert torch.equal(found, expected)
    gradients = (torch.autograd.grad(rows, table, weights)[0] for rows in (found, expected))
    torch.testing.assert_close(*gradients)


def test_a_gradient_that_is_not_contiguous_is_taken():
    table = torch.randn(4, 3, requires_grad=True)
    Lookup(torch.tensor([1, 1, 3]), 4)(table).sum().backward()
    assert torch.equal(table.grad, torch.tensor([0.0, 2.0, 0.0, 1.0]).unsqueeze(1).expand(4, 3))
