import copy

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_aia.model.sparse import SparseMatrix, _bags, _Rows, normalized_adjacency

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


def random_matrix(n=30, m=20, density=0.2, seed=0):
    """With an empty row, an empty column and an entry stored as zero."""
    matrix = sp.random(n, m, density, "csr", np.float32, random_state=seed).tolil()
    matrix[3], matrix[:, 5] = 0, 0
    matrix = matrix.tocsr()
    matrix.data[0] = 0
    return matrix


@pytest.mark.parametrize("device", DEVICES)
def test_products_and_their_gradients_are_those_of_the_dense_matrix(device):
    matrix = random_matrix()
    dense = torch.from_numpy(matrix.toarray()).to(device)
    factor = torch.randn(20, 7, device=device, requires_grad=True)
    weight = torch.randn(30, 7, device=device)
    results = []
    for product in (SparseMatrix(matrix).to(device) @ factor, dense @ factor):
        (gradient,) = torch.autograd.grad((product * weight).sum(), factor)
        results.append((product, gradient))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("device", DEVICES)
def test_long_rows_are_summed_in_pieces(monkeypatch, device):
    monkeypatch.setattr("recbole_aia.model.sparse._PIECE", 3)
    rows, dense = _Rows.of(random_matrix()).to(device), torch.randn(20, 7, device=device)
    sums = _bags(rows.columns, dense, rows.pieces.starts, rows.values)
    assert rows.pieces.starts.diff().max() == 3
    expected = torch.from_numpy(random_matrix().toarray()).to(device) @ dense
    torch.testing.assert_close(_bags(rows.pieces.order, sums, rows.pieces.of_rows), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_product_on_a_gpu_is_the_same_every_time():
    matrix, factor = SparseMatrix(random_matrix(3000, 2000)).to("cuda"), torch.randn(2000, 64, device="cuda")
    first = matrix @ factor
    assert all(torch.equal(matrix @ factor, first) for _ in range(20))


def test_a_factor_that_is_a_transposed_view_gives_the_same():
    matrix, weight = random_matrix(), torch.randn(7, 20)
    torch.testing.assert_close(SparseMatrix(matrix) @ weight.t(), torch.from_numpy(matrix.toarray()) @ weight.t())


def test_other_values_on_a_symmetric_pattern_are_transposed_with_their_gradient():
    adjacency = normalized_adjacency(random_matrix())
    values = torch.rand_like(adjacency.values)
    changed, factor = adjacency.with_values(values), torch.eye(50, requires_grad=True)
    product = changed @ factor
    assert torch.equal(product[product != 0], values[values != 0])
    (gradient,) = torch.autograd.grad((product * torch.eye(50)[7:8].t()).sum(), factor)
    torch.testing.assert_close(gradient, product.detach()[7:8].t().expand(50, 50))


def test_the_adjacency_is_the_normalised_graph_of_users_and_items():
    interactions = random_matrix()
    dense = (normalized_adjacency(interactions) @ torch.eye(50)).numpy()
    stored = np.zeros((30, 20), np.float32)
    coo = interactions.tocoo()
    stored[coo.row, coo.col] = 1
    full = np.block([[np.zeros((30, 30)), stored], [stored.T, np.zeros((20, 20))]])
    degrees = full.sum(1) + 1e-7
    np.testing.assert_allclose(dense, full / np.sqrt(np.outer(degrees, degrees)), rtol=1e-6)


def test_a_copied_model_shares_it():
    matrix = SparseMatrix(random_matrix())
    assert copy.deepcopy({"m": matrix})["m"] is matrix
