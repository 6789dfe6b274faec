"""Users and labels for the tests of calibrated alignment."""

import torch


def users(n, d, seed=0, dtype=torch.float64):
    """Heavy tails and a covariance: nothing that the null may rest on."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=generator, dtype=dtype)
    return torch.randn(n, d, generator=generator, dtype=dtype) @ mixing * (0.3 + torch.rand(n, 1, generator=generator))


def labels(n, *sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(k, (n,), generator=generator) for k in sizes], dim=1)


def leaky(n=400, d=8, lift=1.0):
    known = labels(n, 2)
    embeddings = users(n, d)
    return embeddings + lift * known * embeddings.std(0), known


def plain(kernel, members):
    """The unbiased estimate written out, pair by pair."""
    inside, outside = kernel[members][:, members], kernel[~members][:, ~members]
    n, m = len(inside), len(outside)
    own = (inside.sum() - inside.diagonal().sum()) / (n * (n - 1))
    rest = (outside.sum() - outside.diagonal().sum()) / (m * (m - 1))
    return own + rest - 2 * kernel[members][:, ~members].mean()
