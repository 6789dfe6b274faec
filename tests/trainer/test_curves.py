import torch

from recbole_aia.storage.checkpoints import load_checkpoint, save_checkpoint
from recbole_aia.trainer import train, undefended_twin
from recbole_aia.trainer.curves import Curves

QUICK = {"epochs": 3, "train_batch_size": 8192, "attributes": ["gender"]}


def test_an_epoch_has_its_losses_by_name_and_what_was_refreshed_before_it():
    curves = Curves()
    curves.validated(0.5)  # the validation of a model that was not trained here
    curves.trained(0, ["rec", "raid gender"], 2.0)
    curves.phase = 2
    curves.refreshed("raid gender")
    curves.trained(1, ["rec", "raid gender"], (1.0, 3.0))
    curves.validated(0.25)
    assert curves.epochs == [
        {"epoch": 0, "phase": 1, "losses": {"rec": 2.0}, "valid": None, "refreshed": []},
        {
            "epoch": 1,
            "phase": 2,
            "losses": {"rec": 1.0, "raid gender": 3.0},
            "valid": 0.25,
            "refreshed": ["raid gender"],
        },
    ]


def test_a_twin_has_its_curves_and_one_without_them_is_reused_as_it_is(make_config, ml100k, caplog):
    config = make_config("BPR", defense="none", eval_step=1, **QUICK)
    twin, path = undefended_twin(config, ml100k)
    assert [each["epoch"] for each in twin.curves] == [0, 1, 2]
    assert all(each["losses"]["rec"] > 0 and each["valid"] > 0 for each in twin.curves)
    assert undefended_twin(config, ml100k)[0].curves == twin.curves
    state = load_checkpoint(path)
    del state["aia"]["curves"]
    save_checkpoint({key: value for key, value in state.items() if key != "seal"}, path)
    old, _ = undefended_twin(config, ml100k)
    assert old.curves == []
    assert torch.equal(old.served, twin.served)


def test_a_defense_without_epochs_has_none(make_config, ml100k, tmp_path):
    config = make_config("BPR", defense="noise", **QUICK)
    assert train(config, ml100k, tmp_path / "kept.pth").curves == []
