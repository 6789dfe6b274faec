"""Adversaries side by side, and the reversed gradient."""

import pytest
import torch
import torch.nn.functional as F

from recbole_aia.config.devices import find_device
from recbole_aia.losses import Adversaries, reverse_gradient


def networks(seed=0, **values):
    settings = {
        "count": 3,
        "hidden": 8,
        "dropout": 0.0,
        "learning_rate": 0.05,
        "weight_decay": 0.0,
        "class_weights": torch.ones(2),
        "generator": torch.Generator(find_device()).manual_seed(seed),
    }
    given = {**settings, **values}
    outputs = 1 if given["class_weights"] is None else len(given["class_weights"])
    return Adversaries(4, outputs, **given)


def planted(n=200):
    generator = torch.Generator().manual_seed(1)
    classes = torch.arange(n) % 2
    embeddings = torch.randn(n, 4, generator=generator)
    embeddings[:, 0] += 2.0 * classes
    return embeddings, classes


@pytest.mark.parametrize("weight", [0.0, 0.5, 3.0])
def test_values_pass_and_their_gradient_comes_back_reversed(weight):
    values = torch.randn(5, 2, requires_grad=True)
    passed = reverse_gradient(values, weight)
    assert torch.equal(passed, values)
    (passed**2).sum().backward()
    torch.testing.assert_close(values.grad, -weight * 2 * values.detach())


def test_networks_learn_a_planted_class_and_differ():
    embeddings, classes = planted()
    adversaries = networks()
    for _ in range(100):
        adversaries.learn(embeddings, classes)
    said = adversaries.outputs(embeddings)
    assert said.shape == (3, 200, 2)
    assert ((said.argmax(2) == classes).float().mean(1) > 0.8).all()
    assert not torch.allclose(said[0], said[1])


def test_a_number_is_predicted_by_its_squared_error():
    embeddings, _ = planted()
    numbers = embeddings[:, 1] - 0.5 * embeddings[:, 0]
    adversaries = networks(class_weights=None)
    for _ in range(300):
        adversaries.learn(embeddings, numbers)
    assert float(adversaries.loss(embeddings, numbers)) < 0.05 * float(numbers.var())


def test_the_loss_is_the_mean_over_networks_of_weighted_cross_entropy():
    embeddings, classes = planted(50)
    weights = torch.tensor([1.0, 4.0])
    adversaries = networks(class_weights=weights)
    expected = [F.cross_entropy(said, classes, weights) for said in adversaries.outputs(embeddings)]
    torch.testing.assert_close(adversaries.loss(embeddings, classes), torch.stack(expected).mean())


def test_the_loss_moves_users_and_not_the_networks():
    embeddings, classes = planted(50)
    adversaries, users = networks(), embeddings.requires_grad_()
    before = [each.detach().clone() for each in adversaries.parameters]
    adversaries.loss(users, classes).backward()
    assert users.grad.abs().sum() > 0
    assert all(each.grad is None for each in adversaries.parameters)
    adversaries.learn(users, classes)
    assert all(not torch.equal(a, b) for a, b in zip(before, adversaries.parameters, strict=True))


def test_side_by_side_is_what_each_would_be_alone():
    """Three networks at once take the steps that three of torch's own networks take."""
    embeddings, classes = planted(60)
    adversaries = networks(learning_rate=0.01)
    alone = []
    for j in range(3):
        inner, inner_bias, outer, outer_bias = (each[j].detach().clone() for each in adversaries.parameters)
        alone.append([each.requires_grad_() for each in (inner, inner_bias, outer, outer_bias)])
    for weights in alone:
        optimizer = torch.optim.Adam(weights, lr=0.01)
        for _ in range(5):
            said = (embeddings @ weights[0] + weights[1]).relu() @ weights[2] + weights[3]
            optimizer.zero_grad()
            F.cross_entropy(said, classes).backward()
            optimizer.step()
    for _ in range(5):
        adversaries.learn(embeddings, classes)
    for j, weights in enumerate(alone):
        for ours, theirs in zip(adversaries.parameters, weights, strict=True):
            torch.testing.assert_close(ours[j].detach(), theirs.detach(), atol=1e-5, rtol=1e-4)


def test_a_state_that_is_restored_goes_on_as_if_nothing_had_happened():
    embeddings, classes = planted(50)
    first, second = networks(dropout=0.5), networks(seed=9, dropout=0.5)
    first.learn(embeddings, classes)
    second.load_state(first.state())
    for adversaries in (first, second):
        adversaries.learn(embeddings, classes)
    assert torch.equal(first.outputs(embeddings), second.outputs(embeddings))


def learned_by_fresh_networks(users, classes):
    """Balanced accuracy on a fifth of the users of networks that learn from the others, over five parts."""
    found = []
    for part in range(5):
        test = torch.arange(len(users)) % 10 // 2 == part
        adversaries = networks(seed=part + 5, dropout=0.5, learning_rate=0.01)
        for _ in range(150):
            adversaries.learn(users[~test], classes[~test])
        right = adversaries.outputs(users[test]).mean(0).argmax(1) == classes[test]
        found.append(torch.stack([right[classes[test] == k].float().mean() for k in (0, 1)]).mean())
    return float(torch.stack(found).mean())


def test_users_that_fool_networks_fool_fresh_ones_and_stay_near_where_they_were():
    first, classes = planted(600)
    users = first.clone().requires_grad_()
    adversaries, optimizer = networks(dropout=0.5, learning_rate=0.01), torch.optim.Adam([users], lr=0.01)
    for _ in range(300):
        adversaries.learn(users, classes)
        optimizer.zero_grad()
        loss = adversaries.loss(reverse_gradient(users, 1.0), classes) + 0.02 * (users - first).square().sum(1).mean()
        loss.backward()
        optimizer.step()
    assert learned_by_fresh_networks(first, classes) > 0.75
    assert abs(learned_by_fresh_networks(users.detach(), classes) - 0.5) < 0.06
    assert float((users.detach() - first).square().sum(1).mean()) < 2.0
