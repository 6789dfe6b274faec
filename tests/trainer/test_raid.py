import pytest
import torch
from recbole.config import Config
from recbole.utils import init_seed

from recbole_aia import RAIDTrainer
from recbole_aia.data import load_labels, prepare_loaders
from recbole_aia.errors import ConfigValueError
from recbole_aia.model import UserEmbeddingView, build_model
from recbole_aia.testing import split_once
from recbole_aia.trainer import UndefendedTrainer
from recbole_aia.trainer.raid import RAIDTerm

RAID = {
    "defense": "raid",
    "epochs": 4,
    "eval_step": 1,
    "raid_phase1_epochs": 1,
    "raid_refresh_epochs": 2,
    "raid_atoms": 32,
}


def prepared(make_config, ml100k, model="BPR", trainer=RAIDTrainer, **values):
    config = make_config(model, **{**RAID, **values})
    init_seed(config["seed"], True)
    loaders = prepare_loaders(config, split_once(ml100k))
    init_seed(config["seed"], True)
    return trainer(config, build_model(config, loaders[0].dataset)), loaders


def class_distance(trainer, attribute="gender"):
    """Squared distance of the class means, relative to the users' variance."""
    labels = trainer.labels.column(attribute)[1:]
    with torch.no_grad():
        users = trainer.view.served()
    means = torch.stack([users[labels == k].mean(0) for k in (0, 1)])
    return ((means[0] - means[1]).pow(2).sum() / users.var(0).sum()).item()


class TestDefendedState:
    def test_what_is_saved_evaluated_and_held_is_the_state_after_the_last_epoch(self, make_config, ml100k):
        trainer, (train_data, valid_data, test_data) = prepared(make_config, ml100k)
        states = []
        epoch = trainer._train_epoch

        def recording(*args, **kwargs):
            losses = epoch(*args, **kwargs)
            states.append({k: v.clone() for k, v in trainer.model.state_dict().items()})
            return losses

        trainer._train_epoch = recording
        # The best validation score of this short run is Phase I's by construction.
        score = iter([0.9, 0.1, 0.1, 0.1, 0.1])
        trainer._valid_epoch = lambda *_, **__: (s := next(score), {"ndcg@10": s})
        best, result = trainer.fit(train_data, valid_data)
        trainer.evaluate(test_data)
        saved = torch.load(trainer.saved_model_file, weights_only=True)
        assert len(states) == 4
        assert saved["epoch"] == 3
        for name, value in trainer.model.state_dict().items():
            assert torch.equal(value, states[-1][name])
            assert torch.equal(saved["state_dict"][name], states[-1][name])
        assert not torch.equal(states[0]["user_embedding.weight"], states[-1]["user_embedding.weight"])
        assert (best, result) == (0.1, {"ndcg@10": 0.1})

    def test_selection_by_validation_never_returns_a_phase_one_epoch(self, make_config, ml100k):
        trainer, (train_data, valid_data, _) = prepared(make_config, ml100k, select="valid_after_phase1")
        score = iter([0.9, 0.1, 0.5, 0.3])
        trainer._valid_epoch = lambda *_, **__: (s := next(score), {"ndcg@10": s})
        best, _ = trainer.fit(train_data, valid_data)
        assert best == 0.5
        assert torch.load(trainer.saved_model_file, weights_only=True)["epoch"] == 2

    def test_without_a_validated_epoch_in_phase_two_the_last_state_is_kept(self, make_config, ml100k):
        trainer, loaders = prepared(
            make_config, ml100k, select="valid_after_phase1", epochs=5, raid_phase1_epochs=3, eval_step=3
        )
        trainer.fit(*loaders[:2])
        assert torch.load(trainer.saved_model_file, weights_only=True)["epoch"] == 4
        assert trainer.best_valid_result["ndcg@10"] > 0

    def test_a_low_early_score_does_not_end_training(self, make_config, ml100k):
        trainer, (train_data, valid_data, _) = prepared(make_config, ml100k, stopping_step=0)
        score = iter([0.9, 0.5, 0.3, 0.2, 0.2])
        trainer._valid_epoch = lambda *_, **__: (s := next(score), {"ndcg@10": s})
        trainer.fit(train_data, valid_data)
        assert len(trainer.train_loss_dict) == 4


class TestPhases:
    def test_phase_one_is_the_undefended_training(self, make_config, ml100k):
        states = []
        for trainer_class, epochs in ((RAIDTrainer, 2), (UndefendedTrainer, 1)):
            trainer, (train_data, _, _) = prepared(make_config, ml100k, trainer=trainer_class, epochs=epochs)
            if trainer_class is RAIDTrainer:
                phases = trainer.phases
                trainer.phases = lambda phases=phases: phases()[:1]
            trainer.fit(train_data, saved=False)
            states.append(trainer.model.user_embedding.weight.detach().clone())
        assert torch.equal(*states)

    def test_joint_defends_all_attributes_at_once_and_sequential_one_after_another(self, make_config, ml100k):
        trainer, (train_data, _, _) = prepared(make_config, ml100k, epochs=8)
        trainer.labels = load_labels(trainer.config, train_data.dataset)
        joint = trainer.phases()
        assert [(p.epochs, [t.name for t in p.terms]) for p in joint] == [
            (1, []),
            (7, ["raid gender", "raid age"]),
        ]
        trainer.config["multi"] = "sequential"
        sequential = trainer.phases()
        assert [(p.epochs, [t.name for t in p.terms]) for p in sequential] == [
            (1, []),
            (4, ["raid gender"]),
            (3, ["raid age"]),
        ]

    def test_no_phase_one_is_allowed_and_no_phase_two_is_not(self, make_config, ml100k):
        trainer, (train_data, _, _) = prepared(make_config, ml100k, raid_phase1_epochs=0)
        trainer.labels = load_labels(trainer.config, train_data.dataset)
        assert len(trainer.phases()) == 1
        trainer.config["raid_phase1_epochs"] = 4
        with pytest.raises(ConfigValueError, match="Raise epochs"):
            trainer.phases()

    def test_by_default_the_last_fifth_is_defended_and_each_attribute_has_an_epoch(self, make_config):
        plan = [RAIDTrainer.schedule(make_config(epochs=n, defense="raid"), ["a", "b"]) for n in (30, 3)]
        assert plan == [[(24, []), (6, ["a", "b"])], [(2, []), (1, ["a", "b"])]]
        sequential = make_config(epochs=3, defense="raid", multi="sequential")
        assert RAIDTrainer.schedule(sequential, ["a", "b"]) == [(1, []), (1, ["a"]), (1, ["b"])]

    def test_the_barycenter_is_refreshed_at_the_start_and_every_few_epochs(self, make_config, ml100k):
        trainer, (train_data, _, _) = prepared(make_config, ml100k, epochs=6, attributes=["gender"])
        trainer.fit(train_data, saved=False)
        assert trainer.terms[0].refreshes == 3  # before epochs 1, 3 and 5

    def test_diagnostics_of_each_refresh_are_logged(self, make_config, ml100k, caplog):
        trainer, (train_data, _, _) = prepared(make_config, ml100k, attributes=["gender"])
        scalars = []
        trainer.tensorboard.add_scalar = lambda tag, value, step: scalars.append(tag)
        with caplog.at_level("INFO"):
            trainer.fit(train_data, saved=False)
        lines = [r.getMessage() for r in caplog.records if "barycenter objective" in r.getMessage()]
        assert len(lines) == 2
        assert any("raid gender loss" in r.getMessage() for r in caplog.records)
        assert scalars.count("raid gender/objective") == scalars.count("raid gender/marginal_error") == 2
        assert {"Loss/Train/rec", "Loss/Train/raid gender"} <= set(scalars)


@pytest.mark.parametrize(
    ("model", "rec_loss"),
    [
        *((model, "native") for model in ("BPR", "NeuMF", "DMF", "LightGCN", "NGCF", "MultiVAE")),
        ("BPR", "bce"),
        ("LightGCN", "bce"),
        ("MultiVAE", "bce"),
    ],
)
def test_classes_come_closer_on_every_model(make_config, ml100k, model, rec_loss):
    distances = []
    small = {"n_layers": 1, "hidden_size_list": [16], "embedding_size": 16}
    small |= {"mf_embedding_size": 16, "mlp_embedding_size": 16, "mlp_hidden_size": [32, 16]}
    for eta in (0.0, 30.0):
        trainer, (train_data, _, _) = prepared(
            make_config, ml100k, model, rec_loss=rec_loss, raid_eta=eta, raid_phase1_epochs=1, epochs=2,
            attributes=["gender"], train_batch_size=16384, learning_rate=0.003, **small,
        )  # fmt: skip
        trainer.fit(train_data, saved=False)
        distances.append(class_distance(trainer))
    assert distances[1] < distances[0]


@pytest.mark.parametrize("coupling", ["kl_projection", "semi_dual", "exact"])
def test_every_coupling_trains(make_config, ml100k, coupling):
    trainer, (train_data, _, _) = prepared(
        make_config, ml100k, epochs=2, raid_coupling=coupling, attributes=["age"], raid_batch_users=500
    )
    trainer.fit(train_data, saved=False)
    term = trainer.terms[0]
    exact = "donot_use_mm_for_euclid_dist"
    to_atoms = torch.cdist(term.targets, term.barycenter.atoms, compute_mode=exact).min(dim=1).values
    # One atom a user is what makes semi_dual cheap; the others split users over several atoms.
    assert (to_atoms.max().item() == 0) == (coupling == "semi_dual")
    assert torch.isfinite(trainer.view.served()).all()


def test_targets_stay_with_their_users_between_refreshes(make_config, ml100k):
    trainer, (train_data, _, _) = prepared(make_config, ml100k, epochs=3, attributes=["gender"])
    seen = []
    epoch = trainer._train_epoch
    trainer._train_epoch = lambda *a, **k: (epoch(*a, **k), seen.append([t.targets for t in trainer.terms]))[0]
    trainer.fit(train_data, saved=False)
    assert seen[1][0] is seen[2][0]


def test_calibrated_an_attribute_at_chance_is_not_pulled_until_it_rises_again(make_config, ml100k):
    trainer, _ = prepared(make_config, ml100k, calibrate=True, attributes=["gender"])
    trainer.labels = load_labels(trainer.config, ml100k)
    users, genders = trainer.view.tables()[0], trainer.labels.column("gender")[1:, None]
    noise = torch.randn(users[1:].shape, generator=torch.Generator().manual_seed(0))
    # A class moved onto users of the other is more alike to it than a random group is.
    women, men = ((genders[:, 0] == k).nonzero().squeeze(1) for k in (0, 1))
    copies = noise.clone()
    copies[men[: len(women)]] = noise[women]
    term = RAIDTerm(trainer, "gender")
    for place, pulled in ((noise + genders, True), (copies, False), (noise + genders, True)):
        with torch.no_grad():
            users[1:] = place
        if term.barycenter is None:
            term.start_epoch(0)
        loss = [term() for _ in range(5)][-1]
        assert bool(loss > 0) == loss.requires_grad == pulled


def test_cross_entropy_on_pairs_weighs_a_positive_once(make_config, ml100k):
    trainer, (train_data, _, _) = prepared(
        make_config, ml100k, rec_loss="bce",
        train_neg_sample_args={"distribution": "uniform", "sample_num": 4, "alpha": 1.0, "dynamic": False},
    )  # fmt: skip
    batch = next(iter(train_data))
    n = len(batch) // 4
    view = UserEmbeddingView(trainer.model)
    users, items, negatives = (batch[k] for k in ("user_id", "item_id", "neg_item_id"))
    scores = torch.cat([view.logits(users[:n], items[:n]), view.logits(users, negatives)])
    targets = torch.cat([torch.ones(n), torch.zeros(len(batch))])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(scores, targets)
    torch.testing.assert_close(trainer.recommendation_loss(batch), expected)


def test_a_training_can_be_resumed_in_phase_two(make_config, ml100k):
    trainer, (train_data, _, _) = prepared(make_config, ml100k, attributes=["gender"])
    trainer.fit(train_data)
    again, _ = prepared(make_config, ml100k, attributes=["gender"], epochs=6)
    again.resume_checkpoint(trainer.saved_model_file)
    assert torch.equal(again.model.user_embedding.weight, trainer.model.user_embedding.weight)
    again.fit(train_data, saved=False)
    assert sorted(again.train_loss_dict) == [4, 5]


def test_it_trains_in_a_plain_recbole_project(tmp_path, ml100k):
    from recbole.data import create_dataset, data_preparation
    from recbole.model.general_recommender import BPR

    config = Config("BPR", "ml-100k", config_dict={"epochs": 2, "checkpoint_dir": str(tmp_path)})
    train_data, valid_data, test_data = data_preparation(config, create_dataset(config))
    trainer = RAIDTrainer(config, BPR(config, train_data.dataset).to(config["device"]))
    trainer.fit(train_data, valid_data)
    assert trainer.evaluate(test_data)["recall@10"] > 0
