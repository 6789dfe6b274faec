"""Users, labels and moments for the tests of AttrCloak."""

import torch


def users(n, d, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=generator, dtype=dtype) / d**0.5
    return torch.randn(n, d, generator=generator, dtype=dtype) @ mixing + 0.3


def labels(n, *sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(k, (n,), generator=generator) for k in sizes], dim=1)


def moments(sample):
    centered = sample - sample.mean(0)
    return sample.mean(0), centered.t() @ centered / len(sample)
