"""Lemma 2: the defensive loss has the gradient of the squared Wasserstein distances."""

import ot
import pytest
import torch

from recbole_aia.losses import defensive_loss, penalized_barycenter, solve_coupling


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than they give at these sizes, on a shared machine a hundredfold."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rng(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def problem():
    """Users y = tanh(x @ theta), their labels, the barycenter of their classes."""
    g = rng(0)
    features = torch.randn(25, 4, generator=g, dtype=torch.float64)
    theta = torch.randn(4, 3, generator=g, dtype=torch.float64)
    labels = torch.randint(3, (25,), generator=g)
    classes = [torch.tanh(features @ theta)[labels == k] for k in range(3)]
    assert len({len(users) for users in classes}) > 1
    return features, theta, labels, classes, penalized_barycenter(classes, n_atoms=7, tau=0.05)


def all_targets(coupling, embeddings, labels):
    targets = torch.empty_like(embeddings)
    for k in range(int(labels.max()) + 1):
        rows = torch.arange(int((labels == k).sum()))
        targets[labels == k] = coupling.targets(embeddings[labels == k], k, rows)
    return targets


def wasserstein(classes, barycenter):
    weights = (barycenter.weights / barycenter.weights.sum()).numpy()
    return sum(
        ot.emd2(
            torch.full((len(users),), 1 / len(users), dtype=torch.float64).numpy(),
            weights,
            torch.cdist(users, barycenter.atoms).square().numpy(),
        )
        for users in classes
    )


@pytest.mark.parametrize("method", ["semi_dual", "kl_projection", "exact"])
def test_autograd_equals_the_gradient_of_lemma_2(problem, method):
    features, theta, labels, classes, barycenter = problem
    coupling = solve_coupling(method, classes, barycenter)
    theta = theta.clone().requires_grad_()
    embeddings = torch.tanh(features @ theta)
    defensive_loss(embeddings, all_targets(coupling, embeddings, labels), labels, 3).backward()

    # 2 sum_k sum_p J_p^T (y_p / N_k - sum_q T_k(p, q) ybar_q), J of the tanh by hand
    expected = torch.zeros_like(theta)
    with torch.no_grad():
        for k, users in enumerate(classes):
            pull = users / len(users) - coupling.plan(k) @ barycenter.atoms
            expected += 2 * features[labels == k].T @ ((1 - users.square()) * pull)
    assert float(expected.abs().max()) > 1e-2
    assert torch.allclose(theta.grad, expected, atol=1e-6, rtol=0)


def test_for_the_exact_coupling_it_is_the_gradient_of_the_wasserstein_distance(problem):
    _, _, labels, classes, barycenter = problem
    users = torch.cat(classes).requires_grad_()
    labels = labels.sort().values
    coupling = solve_coupling("exact", classes, barycenter)
    loss = defensive_loss(users, all_targets(coupling, users, labels), labels, 3)
    loss.backward()

    numeric = torch.zeros_like(users)
    sizes = [len(x) for x in classes]
    step = 1e-6
    for index in range(users.numel()):
        bump = torch.zeros(users.numel(), dtype=users.dtype)
        bump[index] = step
        up, down = (
            wasserstein((users.detach() + sign * bump.view_as(users)).split(sizes), barycenter) for sign in (1, -1)
        )
        numeric.view(-1)[index] = (up - down) / (2 * step)
    assert torch.allclose(users.grad, numeric, atol=1e-6, rtol=0)


def test_a_step_against_it_brings_the_classes_closer_to_the_barycenter(problem):
    _, _, labels, classes, barycenter = problem
    labels = labels.sort().values
    users = torch.cat(classes).requires_grad_()
    coupling = solve_coupling("semi_dual", classes, barycenter)
    defensive_loss(users, all_targets(coupling, users, labels), labels, 3).backward()
    moved = (users - 0.5 * users.grad).detach().split([len(x) for x in classes])
    assert wasserstein(moved, barycenter) < wasserstein(classes, barycenter)


def test_it_is_the_sum_of_class_means():
    embeddings = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
    loss = defensive_loss(embeddings, torch.zeros(3, 2), torch.tensor([0, 0, 1]), 2)
    assert float(loss) == (1 + 9) / 2 + 4


def test_a_class_absent_from_the_batch_adds_nothing():
    embeddings = torch.randn(4, 2, generator=rng(1))
    targets = torch.zeros(4, 2)
    few = defensive_loss(embeddings, targets, torch.zeros(4, dtype=torch.long), 1)
    many = defensive_loss(embeddings, targets, torch.full((4,), 5), 9)
    assert torch.equal(few, many)
    assert torch.isfinite(many)


def test_an_empty_batch_gives_zero_with_a_gradient():
    embeddings = torch.empty(0, 3, requires_grad=True)
    loss = defensive_loss(embeddings, torch.empty(0, 3), torch.empty(0, dtype=torch.long), 2)
    loss.backward()
    assert float(loss.detach()) == 0
    assert embeddings.grad.shape == (0, 3)


def test_no_gradient_reaches_the_targets():
    embeddings = torch.ones(3, 2, requires_grad=True)
    targets = torch.zeros(3, 2, requires_grad=True)
    defensive_loss(embeddings, targets, torch.tensor([0, 1, 1]), 2).backward()
    assert targets.grad is None
    assert torch.allclose(embeddings.grad, torch.tensor([[2.0, 2], [1, 1], [1, 1]]))


@pytest.mark.parametrize("method", ["semi_dual", "exact"])
def test_two_identical_classes_lose_nothing(method):
    users = torch.randn(20, 3, generator=rng(2), dtype=torch.float64)
    found = penalized_barycenter([users, users], atoms=users, tau=0.0, outer_rounds=0)
    coupling = solve_coupling(method, [users, users], found)
    both, labels = torch.cat([users, users]), torch.arange(2).repeat_interleave(20)
    loss = float(defensive_loss(both, all_targets(coupling, both, labels), labels, 2))
    assert loss == pytest.approx(0, abs=1e-4)
    # and would lose something if they were not identical
    other = torch.cat([users, users + 1])
    assert float(defensive_loss(other, all_targets(coupling, other, labels), labels, 2)) > 0.5


@pytest.mark.parametrize(
    ("labels", "targets", "message"),
    [
        (torch.tensor([0, 2]), torch.zeros(2, 3), r"labels lie in \[0, 2\], expected \[0, 1\]"),
        (torch.tensor([-1, 0]), torch.zeros(2, 3), r"labels lie in \[-1, 0\]"),
        (torch.tensor([0]), torch.zeros(2, 3), "disagree"),
        (torch.tensor([0, 1]), torch.zeros(2, 1), "disagree"),
    ],
)
def test_a_mismatch_is_refused(labels, targets, message):
    with pytest.raises(ValueError, match=message):
        defensive_loss(torch.zeros(2, 3), targets, labels, 2)
