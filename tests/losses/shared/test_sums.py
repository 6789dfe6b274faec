import torch

from recbole_aia.losses.shared.sums import add_groups


def test_rows_and_columns_are_added_to_their_groups():
    groups = torch.tensor([2, 0, 2, 2])
    values = torch.arange(12.0).view(4, 3)
    expected = torch.tensor([[4.0, 5.0, 6.0], [1.0, 1.0, 1.0], [16.0, 19.0, 22.0]])
    torch.testing.assert_close(add_groups(torch.ones(3, 3), groups, values), expected)
    torch.testing.assert_close(add_groups(torch.ones(3, 3), groups, values.t(), dim=1), expected.t())


def test_the_same_sums_have_the_same_bits():
    groups = torch.randint(3, (5000,), generator=torch.Generator().manual_seed(0))
    values = torch.randn(5000, 4, 2, generator=torch.Generator().manual_seed(1))
    first, *others = (add_groups(torch.zeros(3, 4, 2), groups, values) for _ in range(5))
    assert all(torch.equal(first, other) for other in others)
