"""Products of a constant sparse matrix with dense ones, fast in both directions."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_aia.config.types import IntArray

_PIECE = 128  # most entries that a GPU's thread adds up one after another; longer rows are cut


class SparseMatrix:
    """A constant sparse matrix and its transpose, both by rows.

    torch's backward of a sparse product transposes the matrix at every step. Here both directions are prepared once,
    and a symmetric matrix is its own transpose.

    Args:
        matrix: ``[n, m]``.
        symmetric: whether the matrix equals its transpose.
    """

    def __init__(self, matrix: sp.spmatrix, *, symmetric: bool = False) -> None:
        self._forward = _Rows.of(matrix)
        self._backward = self._forward if symmetric else _Rows.of(matrix.transpose())

    def to(self, device: Any) -> SparseMatrix:
        """Moves both directions to a device, and returns itself."""
        symmetric = self._backward is self._forward
        self._forward = self._forward.to(device)
        self._backward = self._forward if symmetric else self._backward.to(device)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> SparseMatrix:
        # It never changes; a copied model shares it.
        return self

    def __matmul__(self, dense: Tensor) -> Tensor:
        """``[n, m] @ [m, d] -> [n, d]``, differentiable in the dense factor."""
        return _Product.apply(dense, self._forward, self._backward)  # type: ignore[no-any-return,no-untyped-call]

    @property
    def values(self) -> Tensor:
        """The stored entries, row by row, ``[nnz]``."""
        return self._forward.values

    def with_values(self, values: Tensor) -> SparseMatrix:
        """A matrix with the same pattern, which must be symmetric, and other values ``[nnz]``, which need not be."""
        changed = object.__new__(SparseMatrix)
        changed._forward = replace(self._forward, values=values)
        changed._backward = replace(self._forward, values=values[self._mirror])
        return changed

    @functools.cached_property
    def _mirror(self) -> Tensor:
        """For each entry (i, j) of a symmetric pattern, the place of (j, i)."""
        rows, n = self._forward, len(self._forward.starts) - 1
        places = (np.arange(len(self.values)), rows.columns.cpu().numpy(), rows.starts.cpu().numpy())
        mirrored = sp.csr_matrix(places, shape=(n, n)).transpose().tocsr().data
        return torch.from_numpy(mirrored).to(self.values.device)


@dataclass(frozen=True, eq=False)
class _Pieces:
    """Rows cut into pieces of at most :data:`_PIECE` entries."""

    starts: Tensor  # [pieces + 1], places among the entries
    of_rows: Tensor  # [n + 1], places among the pieces
    order: Tensor  # [pieces], 0, 1, 2, ...

    @classmethod
    def of(cls, starts: IntArray) -> _Pieces:
        counts = -(-np.diff(starts) // _PIECE)
        of_rows = np.concatenate([[0], np.cumsum(counts)]).astype(starts.dtype)
        order = np.arange(of_rows[-1], dtype=starts.dtype)
        nth = order - of_rows[:-1].repeat(counts)
        cuts = np.append(starts[:-1].repeat(counts) + nth * _PIECE, starts[-1]).astype(starts.dtype)
        return cls(*map(torch.from_numpy, (cuts, of_rows, order)))

    def to(self, device: Any) -> _Pieces:
        return _Pieces(self.starts.to(device), self.of_rows.to(device), self.order.to(device))


def _bags(columns: Tensor, dense: Tensor, starts: Tensor, values: Tensor | None = None) -> Tensor:
    return F.embedding_bag(columns, dense, starts, mode="sum", per_sample_weights=values, include_last_offset=True)


@dataclass(frozen=True, eq=False)
class _Rows:
    """A matrix in the CSR format."""

    starts: Tensor  # [n + 1]
    columns: Tensor  # [nnz]
    values: Tensor  # [nnz]
    pieces: _Pieces

    @classmethod
    def of(cls, matrix: sp.spmatrix) -> _Rows:
        csr = sp.csr_matrix(matrix)
        csr.sort_indices()
        # The libraries compute with 32-bit integers where these suffice, and would convert others at every product.
        integers = "int32" if max(csr.nnz, *csr.shape) < 2**31 else "int64"
        starts, columns = (torch.from_numpy(part.astype(integers)) for part in (csr.indptr, csr.indices))
        pieces = _Pieces.of(csr.indptr.astype(integers))
        return cls(starts, columns, torch.from_numpy(csr.data.astype("float32")), pieces)

    def to(self, device: Any) -> _Rows:
        parts = (self.starts, self.columns, self.values, self.pieces)
        return _Rows(*(part.to(device) for part in parts))  # type: ignore[arg-type]

    def times(self, dense: Tensor) -> Tensor:
        # In the matrix's own precision, whatever mixed precision has made of the factor.
        with torch.autocast(dense.device.type, enabled=False):
            return self._times(dense.to(self.values.dtype).contiguous()).to(dense.dtype)

    def _times(self, dense: Tensor) -> Tensor:
        # A row of the product is a weighted bag of rows. On a CPU torch's bags are 2.6 times as fast as MKL's CSR, as
        # long as the rows are contiguous. On a GPU they always add up in the same order, which cuSPARSE does not.
        if dense.is_cpu:
            return _bags(self.columns, dense, self.starts, self.values)
        # A thread adds up a bag alone, so the longest row would keep all others waiting.
        sums = _bags(self.columns, dense, self.pieces.starts, self.values)
        return _bags(self.pieces.order, sums, self.pieces.of_rows)


def normalized_adjacency(interactions: sp.spmatrix) -> SparseMatrix:
    r"""The symmetric normalisation :math:`D^{-1/2} A D^{-1/2}` of the graph of users and items.

    As stock RecBole's LightGCN and NGCF compute it, but without loops in Python.

    Args:
        interactions: ``[n_users, n_items]``; repeated and weighted ones count once.
    """
    of_users = sp.csr_matrix(interactions)
    of_items = sp.csr_matrix(of_users.transpose())
    n_users = of_users.shape[0]
    starts = np.concatenate([of_users.indptr, of_users.nnz + of_items.indptr[1:].astype(np.int64)])
    columns = np.concatenate([of_users.indices + n_users, of_items.indices])
    degrees = np.diff(starts)
    scale = np.power(degrees + 1e-7, -0.5)
    values = scale.repeat(degrees) * scale[columns]
    return SparseMatrix(sp.csr_matrix((values, columns, starts), shape=2 * [len(degrees)]), symmetric=True)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: _Rows, transpose: _Rows) -> Tensor:
        ctx.transpose = transpose
        return matrix.times(dense)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return ctx.transpose.times(grads[0]), None, None
