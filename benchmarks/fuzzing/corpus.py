"""Files to begin with: small, whole, and of every kind that the parsers read."""

from __future__ import annotations

import functools
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

USERS = 12

#: A small dataset, and the settings of a model that is built on it at once.
INTERACTIONS = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + "".join(
    f"u{user}\ti{(user * 5 + k) % 9}\t{1 + k % 5}\t{1000 * user + k}\n" for user in range(USERS) for k in range(4)
)
PEOPLE = "user_id:token\tage:token\tgender:token\n" + "".join(
    f"u{user}\t{20 + 2 * user}\t{'FM'[user % 2]}\n" for user in range(USERS)
)
CUSTOMERS = "user,kind\n" + "".join(f"u{user},{'ab'[user % 2]}\n" for user in range(USERS))
SMALL: dict[str, Any] = {
    "embedding_size": 4, "gpu_id": "", "show_progress": False, "train_batch_size": 64, "epochs": 1,
    "attributes": ["gender"], "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"]},
}  # fmt: skip


def yamls() -> list[bytes]:
    """Configuration files."""
    return [
        b"",
        b"epochs: 3\nlearning_rate: 1e-3\ntopk: [5, 10]\nmetrics: [NDCG, Hit]\nvalid_metric: NDCG@10\n",
        b"defense: raid\nraid_eta: 1.0\nattributes: {age: {field: age, bins: [35, 46], names: [a, b, c]}}\n",
        b"eval_args: {split: {RS: [0.8, 0.1, 0.1]}, order: RO, group_by: user, mode: full}\nseed: 2020\n",
        b"base: &a [1, 2]\nother: *a\nload_col: {inter: [user_id, item_id]}\nuser_inter_num_interval: '[5,inf)'\n",
        "# κόσμος\nattackers: [logistic, mlp]\nattack_views: [served]\nattack_leak_ratios: 0.2\n".encode(),
    ]


def arguments() -> list[bytes]:
    """Arguments of a command line, apart by NUL."""
    return [b"--epochs=3\0--attributes=[gender,age]", b"--a={b: {c: [1.0, ~]}}", b"--model=BPR\0--model=BPR\0--x=1e5"]


def interactions() -> list[bytes]:
    """RecBole's files of interactions."""
    return [INTERACTIONS.encode(), INTERACTIONS.replace("u1\t", "user \u00e91\t").encode()]


def people() -> list[bytes]:
    """RecBole's files of users."""
    return [PEOPLE.encode(), (PEOPLE + "u1\t99\tM\nstranger\t\t\n").encode()]


def label_files() -> list[bytes]:
    """Labels of any system."""
    plain = PEOPLE.replace(":token", "").encode()
    return [PEOPLE.encode(), plain.replace(b"\t", b","), b"\xef\xbb\xbf" + plain.replace(b"\t", b";"), _quoted()]


def _quoted() -> bytes:
    return b'"user","job"\n' + b"".join(b'"u%d","%s"\n' % (user, b"ab"[user % 2 :][:1]) for user in range(USERS))


def csv_matrices() -> list[bytes]:
    """Embeddings as text."""
    rows = "".join(f"u{user},{user / 7:.3f},-1e-3\n" for user in range(USERS))
    return [f"user_id,d0,d1\n{rows}".encode(), b"0.1,0.2\n0.3,0.4\n", f"who;a;b\n{rows}".replace(",", ";").encode()]


def _vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(USERS, 3)).astype(np.float32)


def npz_matrices() -> list[bytes]:
    """Embeddings as arrays, compressed and not."""
    files = []
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        tokens = np.array([f"u{user}" for user in range(USERS)])
        save(file, user_tokens=tokens, embeddings=_vectors(), interactions=np.arange(USERS))
        files.append(file.getvalue())
    return files


def npy_matrices() -> list[bytes]:
    """Embeddings as one array."""
    files = []
    for array in (_vectors(), np.asfortranarray(_vectors().astype(">f8"))):
        file = io.BytesIO()
        np.save(file, array)
        files.append(file.getvalue())
    return files


@functools.cache
def maps() -> list[bytes]:
    """A learned map."""
    from recbole_aia import learn_protection

    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=60)
    vectors = rng.normal(size=(60, 3)) + labels[:, None]
    with tempfile.TemporaryDirectory() as folder:
        learn_protection(vectors, labels)[1].save(Path(folder) / "map.npz")
        return [(Path(folder) / "map.npz").read_bytes()]


def activities() -> list[bytes]:
    """How active users are."""
    rows = "".join(f"u{user},{user + 1}\n" for user in range(USERS))
    return [f"user,interactions\n{rows}".encode(), f"user,interactions\n'=1,2\n{rows}".encode()]


def ledgers() -> list[bytes]:
    """Ledgers with a request of all users and one of some."""
    requests = [
        {"id": 1, "attributes": {"gender": None}, "users": None, "when": "2026-01-01T00:00:00+00:00"},
        {"id": 2, "attributes": {"age": {"bins": [30]}}, "users": ["u1", "u2"], "when": "2026-01-02T00:00:00+00:00"},
    ]
    values = {
        "base": "base.pth", "sha256": "0" * 64, "data": "1" * 64, "defense": "calibrated",
        "arguments": ["--calibrated_steps=5"], "requests": requests, "next_id": 3, "versions": {"torch": "2"},
        "schema": "recbole-aia/ledger-1",
    }  # fmt: skip
    return [json.dumps(values, indent=2).encode(), json.dumps({**values, "requests": [], "next_id": 1}).encode()]


@functools.cache
def checkpoints() -> list[bytes]:
    """A checkpoint of a small model, as a run writes it, and the same weights written by somebody else."""
    import torch

    from recbole_aia import AIAConfig
    from recbole_aia.compat import checkpoint_state, save_plain_checkpoint
    from recbole_aia.data import create_dataset
    from recbole_aia.jobs.loading import training_split
    from recbole_aia.model import build_model
    from recbole_aia.storage.checkpoints import NUMBERING
    from recbole_aia.trainer import UndefendedTrainer

    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "fuzz").mkdir()
        (Path(place) / "fuzz" / "fuzz.inter").write_text(INTERACTIONS)
        (Path(place) / "fuzz" / "fuzz.user").write_text(PEOPLE)
        values = {**SMALL, "data_path": place, "checkpoint_dir": place}
        config = AIAConfig("BPR", "fuzz", config_dict=values, argv=[])
        trainer = UndefendedTrainer(config, build_model(config, training_split(config, create_dataset(config), 2020)))
        file = Path(place) / "checkpoint.pth"
        save_plain_checkpoint(trainer, 0, verbose=False, saved_model_file=str(file))
        other = io.BytesIO()
        torch.save({key: value for key, value in checkpoint_state(trainer, 0).items() if key != NUMBERING}, other)
        return [file.read_bytes(), other.getvalue()]


def orders() -> list[bytes]:
    """A table of interactions with a header."""
    rows = [f"u{user},p{k},{k % 5},2024-01-{1 + k:02d}\n" for user in range(USERS) for k in range(5)]
    text = "user,item,stars,time\n" + "".join(rows)
    return [text.encode(), b"\xef\xbb\xbf" + text.replace("p1", '"a ""quoted"", item"').encode()]
