import pytest
import torch

from recbole_aia.losses import ClassDivergence
from tests.losses.attrcloak.classes import labels, moments, users


def plain_loss(embeddings, column, everyone=None):
    """AttrCloak, eq. 13-18, as written: a loop over classes, an inverse and a determinant."""
    everyone = embeddings[column >= 0] if everyone is None else everyone
    mean, covariance = moments(everyone)
    inverse, total = torch.linalg.inv(covariance), 0
    known = column[column >= 0]
    for k in known.unique():
        mean_k, covariance_k = moments(embeddings[column == k])
        gap = mean - mean_k
        ratio = torch.log(torch.det(covariance) / torch.det(covariance_k))
        kl = (ratio - len(mean) + torch.trace(inverse @ covariance_k) + gap @ inverse @ gap) / 2
        total = total + (column == k).sum() / len(known) * kl
    return total


class TestClassDivergence:
    def test_it_is_the_equation_written_out(self):
        embeddings, known = users(400, 4), labels(400, 2, 5)
        losses = ClassDivergence(embeddings, known, "full")(embeddings)
        expected = torch.stack([plain_loss(embeddings, column) for column in known.t()])
        torch.testing.assert_close(losses, expected)

    def test_its_gradient_is_that_of_the_equation(self):
        embeddings, known = users(300, 4).requires_grad_(), labels(300, 2, 3)
        known[:50, 0] = -1
        divergence = ClassDivergence(embeddings, known, "full")
        ours, theirs = (
            torch.autograd.grad(loss, embeddings)[0]
            for loss in (divergence(embeddings).sum(), sum(plain_loss(embeddings, c) for c in known.t()))
        )
        torch.testing.assert_close(ours, theirs)

    @pytest.mark.parametrize("covariance", ["ledoit_wolf", "ridge", "full", "full_or_ridge"])
    @pytest.mark.parametrize("staying", [0, 9])
    def test_gradients_check_numerically(self, covariance, staying):
        embeddings, known = users(40, 3), labels(40, 2, 3)
        known[::7, 1] = -1
        rest, rest_labels = users(staying, 3, seed=5), labels(staying, 2, 3, seed=5)
        divergence = ClassDivergence(embeddings, known, covariance, rest, rest_labels)
        moved = (embeddings + 0.1 * users(40, 3, seed=3)).requires_grad_()
        assert torch.autograd.gradcheck(divergence, moved)

    def test_singular_covariances_are_shrunk_and_finite(self):
        embeddings, known = users(30, 40), labels(30, 2)
        start = embeddings.requires_grad_()
        loss = ClassDivergence(embeddings, known)(start)
        assert loss > 0
        assert torch.autograd.grad(loss.sum(), start)[0].isfinite().all()
        with pytest.raises(torch.linalg.LinAlgError):
            ClassDivergence(embeddings, known, "full")(embeddings)

    def test_it_is_not_negative_and_falls_along_its_gradient(self):
        embeddings, known = users(200, 6), labels(200, 4)
        embeddings[known[:, 0] == 1] += 1
        divergence, here = ClassDivergence(embeddings, known, "full"), embeddings.clone().requires_grad_()
        before = divergence(here).sum()
        here = here - 5 * torch.autograd.grad(before, here)[0]
        assert 0 <= divergence(here).sum() < before

    def test_users_without_a_label_have_no_part_in_that_attribute(self):
        embeddings, known = users(100, 3), labels(100, 2, 2)
        known[:20, 0] = -1
        moved = embeddings.clone()
        moved[:20] += 3
        divergence = ClassDivergence(embeddings, known)
        before, after = divergence(embeddings), divergence(moved)
        assert before[0] == after[0]
        assert before[1] != after[1]

    def test_users_who_stay_are_part_of_everyone_and_of_no_class(self):
        embeddings, known = users(120, 3), labels(120, 2)
        everyone, (movers, rest) = embeddings, embeddings.split([50, 70])
        column = known[:50, 0]
        loss = ClassDivergence(movers, known[:50], "full", rest, known[50:])(movers)
        torch.testing.assert_close(loss[0], plain_loss(movers, column, everyone))

    @pytest.mark.parametrize("covariance", ["full", "ledoit_wolf"])
    @pytest.mark.parametrize("bystanders", [1, 30])
    def test_users_who_move_for_another_attribute_are_part_of_everyone(self, covariance, bystanders):
        embeddings, known = users(120, 3), labels(120, 2, 3)
        asked = known.clone()
        asked[:bystanders, 0] = -1
        divergence = ClassDivergence(embeddings, asked, covariance, known=known)
        moved = embeddings.clone().requires_grad_()
        loss = divergence(moved)[0]
        if covariance == "full":
            torch.testing.assert_close(loss, plain_loss(embeddings[bystanders:], asked[bystanders:, 0], embeddings))
        assert torch.autograd.grad(loss, moved)[0][:bystanders].abs().sum() > 0
        assert torch.autograd.gradcheck(divergence, moved)

    def test_classes_that_are_alike_have_next_to_no_loss(self):
        embeddings = users(943, 32) @ torch.diag(torch.linspace(0.1, 2, 32, dtype=torch.float64))
        known = labels(943, 21)
        ours, raw = (ClassDivergence(embeddings, known, way)(embeddings) for way in ("ledoit_wolf", "ridge"))
        assert ours < 0.1 * raw

    def test_a_class_of_one_is_left_out_and_named(self):
        embeddings, known = users(20, 2), labels(20, 2, 3)
        known[:, 1] = known[:, 1].clamp(max=1)
        known[3, 1] = 2
        divergence = ClassDivergence(embeddings, known)
        assert divergence.left_out == [(1, 2)]
        moved = embeddings.clone()
        moved[3] += 5
        assert divergence(moved)[1] == divergence(embeddings)[1]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((users(4, 2), labels(5, 2)), "disagree"),
            ((users(4, 2), labels(4, 2), "ridge", users(3, 3), labels(3, 2)), "widths"),
            ((users(4, 2), labels(4, 2), "oas"), "expected ledoit_wolf, ridge, full or full_or_ridge"),
            ((users(2, 2), torch.tensor([[0], [1]])), "no class with 2 users"),
        ],
    )
    def test_what_it_cannot_take_is_refused(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            ClassDivergence(*arguments)

    def test_single_precision_gives_the_loss_to_five_digits(self):
        embeddings, known = users(2000, 32), labels(2000, 2, 7)
        exact = ClassDivergence(embeddings, known)(embeddings)
        single = ClassDivergence(embeddings.float(), known)(embeddings.float())
        torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=1e-5)
