"""Local differential privacy: one bit about one coordinate of a vector, which is unbiased for the vector."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.int64]


class Reports(NamedTuple):
    """What users send: a coordinate each, and one of two values.

    Attributes:
        coordinates: ``[n]``, drawn evenly and without looking at the data.
        values: ``[n]``, plus or minus :func:`report_size`.
    """

    coordinates: IntArray
    values: FloatArray


def report_size(width: int, epsilon: float) -> float:
    r"""The size :math:`B = D \, \frac{e^\epsilon + 1}{e^\epsilon - 1}` of a report about ``width`` D entries."""
    return width / math.tanh(epsilon / 2)


def positive_probability(values: FloatArray, epsilon: float) -> FloatArray:
    r"""The probability that the report of a coordinate is positive.

    .. math:: P(+ \mid x) = \frac12 + \frac{x}{2} \, \frac{e^\epsilon - 1}{e^\epsilon + 1}

    For any two values in [-1, 1], probabilities of either answer differ by a factor of at most :math:`e^\epsilon`.

    Args:
        values: any shape, clipped to [-1, 1].
        epsilon: > 0.
    """
    clipped: FloatArray = np.clip(values, -1.0, 1.0)
    return 0.5 + 0.5 * clipped * math.tanh(epsilon / 2)


def random_responses(vectors: FloatArray, epsilon: float, rng: np.random.Generator) -> Reports:
    r"""Each user sends one bit about one coordinate; the report is epsilon-locally differentially private.

    With the report of coordinate j as the vector :math:`z = \pm B \, e_j`, :math:`E[z] = x` for vectors with entries in
    [-1, 1].

    Args:
        vectors: one for each user, ``[n, D]``; entries beyond [-1, 1] are clipped.
        epsilon: > 0.
        rng: draws coordinates and bits; whoever knows its state knows the data.

    Source:
        Shin et al. (TKDE 2018), algorithm 1; Nguyên et al. (2016) for the mechanism.
    """
    users, width = np.arange(len(vectors)), vectors.shape[1]
    coordinates: IntArray = rng.integers(width, size=len(vectors))
    positive = rng.random(len(vectors)) < positive_probability(vectors[users, coordinates], epsilon)
    return Reports(coordinates, np.where(positive, 1.0, -1.0) * report_size(width, epsilon))
