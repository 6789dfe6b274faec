"""Products of a constant sparse matrix with dense ones, fast in both directions."""

from __future__ import annotations

import warnings
from typing import Any

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
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.from_numpy(csr.indptr.astype("int64")),
            torch.from_numpy(csr.indices.astype("int64")),
            torch.from_numpy(csr.data.astype("float32")),
            size=csr.shape,
            check_invariants=False,  # SciPy's own; said so that torch does not warn
        )
