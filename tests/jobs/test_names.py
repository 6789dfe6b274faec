"""The same file with its rows in another order: every vector stays with its user."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign import nameless
from unlearned import PLAIN, QUICK

from recbole_aia import AIAConfig, AttackHook, AttrCloakUnlearner, UserEmbeddingView, load_run, run_recbole_aia
from recbole_aia.cli import main
from recbole_aia.data import create_dataset, load_labels, prepare_loaders
from recbole_aia.data.synthetic import generate, write
from recbole_aia.errors import AttributeDataError, CheckpointError, ConfigValueError
from recbole_aia.jobs.loading import training_split
from recbole_aia.model import build_model, restore
from recbole_aia.storage.checkpoints import load_checkpoint, save_checkpoint

MODELS = ("BPR", "LightGCN", "DMF")
VALUES = {"embedding_size": 8, "n_layers": 1, "user_hidden_size_list": [8], "item_hidden_size_list": [8], "epochs": 3}
VALUES |= {"learning_rate": 0.05, "train_batch_size": 512, "show_progress": False, "attack_folds": 2}
VALUES |= {"attackers": ["logistic"], "attack_repeats": 1, "attack_jobs": 1, "attack_permutations": 20}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folders of runs by model and order of split, and a folder with the same data in another order of rows."""
    root = tmp_path_factory.mktemp("names")
    write(generate(120, 60, 2400, leak=3, seed=1), root / "data")
    shuffled = root / "shuffled" / "synthetic"
    shuffled.mkdir(parents=True)
    for kind in ("inter", "user"):
        head, *lines = (root / "data" / "synthetic" / f"synthetic.{kind}").read_text().splitlines()
        np.random.default_rng(3).shuffle(lines)
        (shuffled / f"synthetic.{kind}").write_text("\n".join([head, *lines, ""]))
    runs = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr("sys.argv", ["pytest"])
        for model in MODELS:
            # Random splits depend on the order of rows.
            split = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": "user", "mode": "full"}
            values = {**VALUES, "eval_args": split, "output_dir": str(root / model), "data_path": str(root / "data")}
            run_recbole_aia(model, "synthetic", config_dict=values, argv=[])
            runs[model] = root / model
    return runs, root / "shuffled"


def by_name(run):
    users = run.dataset.field2id_token["user_id"][1:]
    vectors = UserEmbeddingView(run.model).served().detach().cpu().numpy()
    return dict(zip(users.tolist(), vectors, strict=True))


@pytest.mark.parametrize("model", MODELS)
def test_vectors_split_and_lists_are_those_of_the_training(trained, model):
    folder, shuffled = trained[0][model], trained[1]
    once, again = load_run(folder), load_run(folder, argv=[f"--data_path={shuffled}"])
    assert again.dataset.renumbered
    assert not once.dataset.renumbered
    one, other = by_name(once), by_name(again)
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[user], other[user]) for user in one)
    for each, same in zip(once.predictions(5), again.predictions(5), strict=True):
        assert np.array_equal(each, same)


def test_an_audit_finds_the_same_leak(trained):
    runs, shuffled = trained
    for name, where in (("one", []), ("other", [f"--data_path={shuffled}"])):
        checkpoint = ["--checkpoint", str(runs["BPR"] / "checkpoint.pth")]
        assert main(["audit", *checkpoint, "--output_dir", name, "--attack_views=[served,top_k]", *where]) == 0
    one, other = (json.loads(Path(name, "results.json").read_text())["worst_case"] for name in ("one", "other"))
    assert one == other


def test_an_unlearning_gives_the_same_vectors_to_the_same_users(trained):
    runs, shuffled = trained
    Path("who.txt").write_text("\n".join(load_run(runs["LightGCN"]).dataset.field2id_token["user_id"][1:60]))
    for name, where in (("one", []), ("other", [f"--data_path={shuffled}"])):
        arguments = ["--checkpoint", str(runs["LightGCN"]), "--attributes=[group]", "--defense=attrcloak", *QUICK]
        assert main(["unlearn", "--output_dir", name, "--users=who.txt", *arguments, *where]) == 0
    with np.load("one/embeddings.npz") as one, np.load("other/embeddings.npz") as other:
        assert all(np.array_equal(one[key], other[key]) for key in one)
    one, other = (load_checkpoint(Path(name, "checkpoint.pth"))["unlearned"][0]["users"] for name in ("one", "other"))
    assert one == other


def test_a_run_starts_from_the_right_vectors_and_takes_the_right_twin(trained):
    runs, shuffled = trained
    start = {**VALUES, "init_checkpoint": str(runs["BPR"] / "checkpoint.pth"), "epochs": 1}
    start["eval_args"] = load_run(runs["BPR"]).config["eval_args"]
    for name, data in (("one", runs["BPR"].parent / "data"), ("other", shuffled)):
        values = {**start, "defense": "noise", "output_dir": name, "data_path": str(data), "noise_scale": 1e-9}
        run_recbole_aia("BPR", "synthetic", config_dict=values, argv=[])
    with np.load("one/embeddings.npz") as one, np.load("other/embeddings.npz") as other:
        vectors = [dict(zip(each["user_tokens"].tolist(), each["embeddings"], strict=True)) for each in (one, other)]
    before = by_name(load_run(runs["BPR"]))
    for found in vectors:
        assert all(np.allclose(found[user], before[user], atol=1e-6) for user in before)


def test_twins_of_files_in_different_order_are_different_twins(trained):
    runs, shuffled = trained
    for data in (runs["BPR"].parent / "data", shuffled):
        values = {**VALUES, "epochs": 1, "output_dir": data.name, "data_path": str(data)}
        run_recbole_aia("BPR", "synthetic", config_dict=values, argv=[])
    assert len(list(Path("saved").glob("undefended-*.pth"))) == 2


def test_a_twin_under_anothers_name_is_trained_again(trained, caplog):
    runs, shuffled = trained
    values = {**VALUES, "epochs": 1, "reuse_undefended": True}
    for name, data in (("one", runs["BPR"].parent / "data"), ("other", shuffled)):
        run_recbole_aia("BPR", "synthetic", config_dict={**values, "output_dir": name, "data_path": str(data)}, argv=[])
    one, other = sorted(Path("saved").glob("undefended-*.pth"), key=lambda path: path.stat().st_mtime_ns)
    other.write_bytes(one.read_bytes())
    values |= {"output_dir": "again", "data_path": str(shuffled)}
    run_recbole_aia("BPR", "synthetic", config_dict=values, argv=[])
    assert "cannot be reused" in caplog.text
    with np.load("other/embeddings.npz") as first, np.load("again/embeddings.npz") as again:
        assert all(np.array_equal(first[key], again[key]) for key in first)


def test_another_seeds_random_split_is_no_start(trained):
    folder = trained[0]["BPR"]
    values = {**VALUES, "eval_args": load_run(folder).config["eval_args"], "seed": 1, "defense": "noise"}
    values |= {"data_path": str(folder.parent / "data"), "init_checkpoint": str(folder / "checkpoint.pth")}
    with pytest.raises(ConfigValueError, match="Write --seed=2020"):
        run_recbole_aia("BPR", "synthetic", config_dict=values, argv=[])


def test_what_recbole_would_read_by_number_is_not_exported(trained, capsys):
    runs, shuffled = trained
    state = load_checkpoint(runs["BPR"] / "checkpoint.pth")
    state["config"]["data_path"] = str(shuffled / "synthetic")
    save_checkpoint(state, Path("moved.pth"))
    assert main(["export", "moved.pth", "--out", "stock.pth"]) == 2
    error = capsys.readouterr().err
    assert "another order" in error
    assert error.count("\n") == 1
    assert not Path("stock.pth").exists()


def test_a_model_of_other_numbers_takes_no_weights(trained):
    runs, shuffled = trained
    values = {**VALUES, "data_path": str(shuffled)}
    config = AIAConfig("BPR", "synthetic", config_dict=values, argv=[])
    model = build_model(config, training_split(config, create_dataset(config), 1))
    state = load_checkpoint(runs["BPR"] / "checkpoint.pth")
    with pytest.raises(CheckpointError, match="numbers users or items otherwise"):
        restore(model, state, "checkpoint.pth")


def test_labels_of_other_numbers_are_refused(trained):
    runs, shuffled = trained
    run = load_run(runs["BPR"], argv=["--defense=attrcloak", "--stage=post"])
    other = AIAConfig("BPR", "synthetic", config_dict={**VALUES, "data_path": str(shuffled)}, argv=[])
    labels, trainer = load_labels(other, create_dataset(other)), AttrCloakUnlearner(run.config, run.model)
    with pytest.raises(AttributeDataError, match="must be of the users of the model"):
        AttackHook(trainer, labels, every=1)
    with pytest.raises(AttributeDataError, match="must be of the users of the model"):
        trainer.unlearn(labels=labels)
    with pytest.raises(AttributeDataError, match="must be of the users of the model"):
        trainer.fit(prepare_loaders(run.config, create_dataset(other))[0])
    AttackHook(trainer, load_labels(run.config, run.dataset), every=1)


def test_contradicting_lines_about_a_person_are_said(trained, capsys):
    runs, shuffled = trained
    folder = Path("twice/synthetic")
    folder.mkdir(parents=True)
    for kind in ("inter", "user"):
        (folder / f"synthetic.{kind}").write_text((shuffled / "synthetic" / f"synthetic.{kind}").read_text())
    with (folder / "synthetic.user").open("a") as file:
        file.write("1\ta\n1\tb\n")
    said = "group: 1 users have lines that contradict each other; their last line counts"
    values = {**VALUES, "epochs": 1, "output_dir": "run", "data_path": "twice"}
    run_recbole_aia("BPR", "synthetic", config_dict=values, argv=[])
    assert main(["audit", "--checkpoint", str(runs["BPR"]), "--data_path=twice", "--output_dir=audit"]) == 0
    command = ["unlearn", "--checkpoint", str(runs["BPR"]), "--data_path=twice", "--output_dir=safe", *QUICK]
    assert main([*command, "--attributes=[group]", "--defense=attrcloak"]) == 0
    assert capsys.readouterr().out.count(f"note: {said}") == 3
    for name in ("run", "safe"):
        assert said in json.loads(Path(name, "results.json").read_text())["run"]["notes"]


@pytest.mark.parametrize("change", ["row", "user", "item", "time"])
def test_other_data_are_refused(trained, change, capsys):
    runs, shuffled = trained
    head, *lines = (shuffled / "synthetic" / "synthetic.inter").read_text().splitlines()
    if change == "row":
        del lines[7]
    else:
        cells = lines[7].split("\t")
        column = [name.split(":")[0] for name in head.split("\t")].index(
            {"user": "user_id", "item": "item_id"}.get(change, "timestamp")
        )
        cells[column] = "99999"
        lines[7] = "\t".join(cells)
    Path("other/synthetic").mkdir(parents=True)
    Path("other/synthetic/synthetic.inter").write_text("\n".join([head, *lines, ""]))
    Path("other/synthetic/synthetic.user").write_text((shuffled / "synthetic" / "synthetic.user").read_text())
    assert main(["audit", "--checkpoint", str(runs["BPR"]), "--data_path=other", "--output_dir=o"]) == 2
    error = capsys.readouterr().err
    assert "was trained on other" in error
    assert error.count("\n") == 1
    assert not Path("o").exists()


@pytest.mark.parametrize(
    ("model", "key", "there"),
    [
        ("BPR", "model=LightGCN", "BPR"),
        ("BPR", "embedding_size=16", "8"),
        ("LightGCN", "n_layers=2", "1"),
        ("BPR", "user_inter_num_interval=[5,inf)", "[0,inf)"),
        ("BPR", "eval_args={split: {LS: valid_and_test}, order: TO, group_by: user, mode: full}", "'RS'"),
    ],
)
def test_a_setting_other_than_the_trainings_is_refused(trained, model, key, there):
    folder = trained[0][model]
    with pytest.raises(ConfigValueError, match=r"/checkpoint.pth' was trained with") as caught:
        load_run(folder, argv=[f"--{key}"])
    assert there in str(caught.value)
    name, value = key.split("=", 1)
    start = {**load_run(folder).config.external_config_dict, "defense": "noise", "output_dir": "o"}
    start |= {"init_checkpoint": str(folder / "checkpoint.pth"), "data_path": str(folder.parent / "data")}
    start.pop("model")
    with pytest.raises((CheckpointError, ConfigValueError), match=r"was trained with|holds a"):
        run_recbole_aia(value if name == "model" else model, "synthetic", config_dict={**start, name: value}, argv=[])
    assert not Path("o").exists()


@pytest.mark.parametrize("command", [["audit"], ["unlearn", "--attributes=[group]"]])
def test_a_contradiction_on_the_command_line_is_one_line(trained, command, capsys):
    checkpoint = ["--checkpoint", str(trained[0]["BPR"] / "checkpoint.pth")]
    assert main([*command, *checkpoint, "--output_dir=o", "--model=LightGCN"]) == 2
    error = capsys.readouterr().err
    assert "Leave model out, or write --model=BPR" in error
    assert error.count("\n") == 1
    assert not Path("o").exists()


def test_what_the_checkpoint_says_and_what_does_not_count_may_be_given(trained):
    folder = trained[0]["BPR"]
    run = load_run(folder, argv=["--embedding_size=8", "--model=BPR", "--seed=7", "--eval_batch_size=99"])
    assert run.config["seed"] == 7


class TestWithoutNames:
    """Checkpoints of RecBole and of 0.1.0 go by number."""

    @pytest.mark.parametrize("model", MODELS[:2])  # three epochs teach DMF nothing that could be recognised
    def test_the_validation_score_decides(self, trained, model, capsys):
        runs, shuffled = trained
        old = nameless(runs[model] / "checkpoint.pth", "old.pth")
        one, other = by_name(load_run(runs[model])), by_name(load_run(old))
        assert all(np.array_equal(one[user], other[user]) for user in one)
        for command in (["audit"], ["unlearn", "--attributes=[group]", *PLAIN]):
            assert main([*command, "--checkpoint", str(old), f"--data_path={shuffled}", "--output_dir=o"]) == 2
            error = capsys.readouterr().err
            assert "does not name its users" in error
            assert "--trained_on=data-" in error
            assert error.count("\n") == 1
            assert not Path("o").exists()

    def test_a_score_that_shows_nothing_is_no_proof_and_the_caller_can_vouch(self, trained):
        runs, shuffled = trained
        old = nameless(runs["BPR"] / "checkpoint.pth", "old.pth", best_valid_score=float("-inf"))
        with pytest.raises(CheckpointError, match="records no validation score") as caught:
            load_run(old)
        vouched = str(caught.value).split("--trained_on=")[1].rstrip(".")
        assert by_name(load_run(old, argv=[f"--trained_on={vouched}"])).keys() == by_name(load_run(runs["BPR"])).keys()
        with pytest.raises(CheckpointError, match="these data are data-"):
            load_run(old, argv=[f"--trained_on={vouched}", f"--data_path={shuffled}"])

    def test_an_untrained_model_is_in_doubt(self, trained):
        runs, _ = trained
        state = torch.load(runs["BPR"] / "checkpoint.pth", weights_only=True)["state_dict"]
        noise = {key: torch.randn_like(value) for key, value in state.items()}
        old = nameless(runs["BPR"] / "checkpoint.pth", "old.pth", state_dict=noise)
        with pytest.raises(CheckpointError, match="which these data do not give"):
            load_run(old)
