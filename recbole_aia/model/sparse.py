"""Products of a constant sparse matrix with dense ones, fast in both directions."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor


class SparseMatrix:
    """A constant sparse matrix and its transpose, both in CSR.

    torch's backward of a sparse product transposes the matrix anew at every step, in COO; here both
    directions are prepared once, and a symmetric matrix serves as its own transpose.

    Args:
        matrix: ``[n, m]``.
        symmetric: whether the matrix equals its transpose.
    """

    def __init__(self, matrix: sp.spmatrix, *, symmetric: bool = False) -> None:
        self.forward = _to_csr(matrix)
        self.backward = self.forward if symmetric else _to_csr(matrix.transpose())

    def to(self, device: Any) -> SparseMatrix:
        """Moves both directions to a device, and returns itself."""
        symmetric = self.backward is self.forward
        self.forward = self.forward.to(device)
        self.backward = self.forward if symmetric else self.backward.to(device)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> SparseMatrix:
        # It never changes, and torch cannot copy CSR tensors; a copied model shares it.
        return self

    def __matmul__(self, dense: Tensor) -> Tensor:
        """``[n, m] @ [m, d] -> [n, d]``, differentiable in the dense factor."""
        return _Product.apply(dense, self.forward, self.backward)  # type: ignore[no-any-return,no-untyped-call]

    @property
    def values(self) -> Tensor:
        """The stored entries, row by row, ``[nnz]``."""
        return self.forward.values()

    def with_values(self, values: Tensor) -> SparseMatrix:
        """The same pattern, which must be symmetric, under other values ``[nnz]`` that need not be."""
        replaced = object.__new__(SparseMatrix)
        replaced.forward = _with_values(self.forward, values)
        replaced.backward = _with_values(self.forward, values[self._mirror])
        return replaced

    @property
    def _mirror(self) -> Tensor:
        """For each entry (i, j) of a symmetric pattern, the place of (j, i)."""
        if not hasattr(self, "_mirrored"):
            n_entries, shape = len(self.values), tuple(self.forward.shape)
            rows, columns = self.forward.crow_indices().cpu().numpy(), self.forward.col_indices().cpu().numpy()
            places = sp.csr_matrix((np.arange(n_entries), columns, rows), shape=shape).transpose().tocsr()
            self._mirrored = torch.from_numpy(places.data).to(self.values.device)
        return self._mirrored


def normalized_adjacency(interactions: sp.spmatrix) -> SparseMatrix:
    r"""The symmetric normalisation :math:`D^{-1/2} A D^{-1/2}` of the graph of users and items.

    As stock RecBole's LightGCN and NGCF compute it, but without loops in Python.

    Args:
        interactions: ``[n_users, n_items]``; repeated and weighted ones count once.
    """
    ones = sp.csr_matrix(interactions)
    ones.data = np.ones_like(ones.data, dtype=np.float32)
    adjacency = sp.csr_matrix(sp.bmat([[None, ones], [ones.T, None]], dtype=np.float32))
    degrees = np.asarray((adjacency > 0).sum(axis=1)).ravel() + 1e-7
    scale = sp.diags(np.power(degrees, -0.5))
    return SparseMatrix(scale @ adjacency @ scale, symmetric=True)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:
        ctx.transpose = transpose
        return matrix @ dense

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return ctx.transpose @ grads[0].contiguous(), None, None


def _to_csr(matrix: sp.spmatrix) -> Tensor:
    csr = sp.csr_matrix(matrix)
    csr.sort_indices()
    # MKL's and cuSPARSE's own integers: 64-bit ones would be converted at every product.
    integers = "int32" if max(csr.nnz, *csr.shape) < 2**31 else "int64"
    indptr, indices = (torch.from_numpy(part.astype(integers)) for part in (csr.indptr, csr.indices))
    return _csr_tensor(indptr, indices, torch.from_numpy(csr.data.astype("float32")), csr.shape)


def _with_values(matrix: Tensor, values: Tensor) -> Tensor:
    return _csr_tensor(matrix.crow_indices(), matrix.col_indices(), values, matrix.shape)


def _csr_tensor(rows: Tensor, columns: Tensor, values: Tensor, shape: Any) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        # SciPy has checked its invariants; said so that torch does not warn.
        return torch.sparse_csr_tensor(rows, columns, values, size=tuple(shape), check_invariants=False)
