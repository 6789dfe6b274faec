import pytest
import torch
from recbole.model.loss import EmbLoss

from recbole_aia.model.norms import EmbeddingNorms


@pytest.mark.parametrize("require_pow", [False, True])
def test_norms_and_gradients_are_recboles_bit_by_bit(require_pow):
    torch.manual_seed(0)
    tables = [torch.randn(7, 5, requires_grad=True) for _ in range(3)]
    results = []
    for norms in (EmbeddingNorms(), EmbLoss()):
        value = norms(*tables, require_pow=require_pow)
        results.append([value, *torch.autograd.grad(value, tables)])
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)
