"""Mistakes in what is given to audit."""

from pathlib import Path

import numpy as np
import pytest
from audited import QUICK, USERS

from recbole_aia.cli import main


@pytest.fixture
def broken(arrays, bpr):
    """Files with one mistake each."""
    tokens, embeddings = arrays
    np.save("long.npy", np.vstack([embeddings[:1], embeddings]))
    np.savez("objects.npz", embeddings=embeddings, user_tokens=tokens.astype(object))
    np.savez("two.npz", a=embeddings, b=embeddings)
    np.savez("cut.npz", user_tokens=tokens, embeddings=embeddings)
    whole = Path("cut.npz").read_bytes()
    Path("cut.npz").write_bytes(whole[: len(whole) // 2])
    np.savez("halves.npz", user_tokens=tokens, embeddings=embeddings, interactions=np.full(len(tokens), 0.5))
    np.savez("short.npz", user_tokens=tokens[:5], embeddings=embeddings)
    np.savez("twice.npz", user_tokens=np.array(["1"] * 943), embeddings=embeddings)
    np.savez("others.npz", user_tokens=np.char.add("x", tokens), embeddings=embeddings)
    np.savez("nan.npz", user_tokens=tokens, embeddings=np.where(embeddings > 0.01, np.nan, embeddings))
    np.save("flat.npy", np.float64(1))
    np.save("words.npy", np.array([["a", "b"]]))
    Path("words.csv").write_text("user,d0\n1,0.5\n2,many\n")
    Path("unnamed.csv").write_text(",d0\n0,0.5\n1,0.7\n")
    Path("empty.csv").write_text("")
    Path("damaged.npy").write_text("hello")
    Path("notes.txt").write_text("hello")
    Path("double.csv").write_text("user,gender\n1,F\n1,M\n")
    Path("wide.csv").write_text("user,gender\n1,F,3,4\n2,M,3,4\n")
    Path("constant.csv").write_text("user,gender\n" + "".join(f"{i},F\n" for i in range(1, 944)))
    Path("run").mkdir()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing is given to audit"),
        (["runs/nowhere"], "'runs/nowhere' is not a run's folder: there is no 'embeddings.npz'"),
        (["flat.npy"], "Use --checkpoint, or --embeddings"),
        (["run", "--checkpoint=c.pth"], "RUN and --checkpoint are given"),
        (["--embeddings=E"], "--embeddings and --labels go together"),
        (["run", "--labels=L"], "--embeddings and --labels go together"),
        (["--checkpoint=nowhere.pth"], "'nowhere.pth' cannot be read: No such file"),
        (["--checkpoint=notes.txt"], "'notes.txt' is damaged"),
        (["--checkpoint=notes.txt", "--trust_checkpoint"], "'notes.txt' is damaged"),
        (["--embeddings=nowhere.npy", "--labels=L"], "'nowhere.npy' cannot be read: No such file"),
        (["--embeddings=notes.txt", "--labels=L"], "not a kind of embeddings"),
        (["--embeddings=damaged.npy", "--labels=L"], "'damaged.npy' cannot be read"),
        (["--embeddings=objects.npz", "--labels=L"], "'objects.npz' cannot be read: Object arrays"),
        (["--embeddings=two.npz", "--labels=L"], "'two.npz' holds a, b. Name one 'embeddings'"),
        (["--embeddings=short.npz", "--labels=L"], "user_tokens (5,)"),
        (["--embeddings=cut.npz", "--labels=L"], "'cut.npz' cannot be read"),
        (["--embeddings=halves.npz", "--labels=L"], "'interactions' of 'halves.npz' are float64"),
        (["--embeddings=twice.npz", "--labels=L"], "name the same user"),
        (["--embeddings=others.npz", "--labels=L"], "no user of others.npz (ids like a9"),
        (["--embeddings=nan.npz", "--labels=L"], "users are not finite"),
        (["--embeddings=flat.npy", "--labels=L"], "'flat.npy' holds given ()"),
        (["--embeddings=words.npy", "--labels=L"], "It must hold numbers"),
        (["--embeddings=words.csv", "--labels=L"], "the column 'd0' is not of numbers"),
        (["--embeddings=unnamed.csv", "--labels=L"], "Call it user_id"),
        (["--embeddings=empty.csv", "--labels=L"], "'empty.csv'"),
        (["--embeddings=long.npy", "--labels=L"], "long.npy has 944 rows and ml-100k.user has 943"),
        (["--embeddings=E", "--labels=nowhere.csv"], "'nowhere.csv' cannot be read: No such file"),
        (["--embeddings=E", "--labels=E"], "cannot be read"),
        (["--embeddings=E", "--labels=double.csv"], "name the same user"),
        (["--embeddings=E", "--labels=wide.csv"], "more values than its header has names"),
        (["--embeddings=E", "--labels=constant.csv"], "nothing is left to tell apart"),
        (["--embeddings=E", "--labels=empty.csv"], "'empty.csv' cannot be read"),
        (["--embeddings=E", "--labels=L", "--attributes=[gendr]"], "Did you mean 'gender'"),
        (["--embeddings=E", "--labels=L", "--attributes=[zip_code]"], "795 classes"),
        (["--embeddings=E", "--labels=L", "--attributes={age: {bin: [3]}}"], "unknown entry 'bin'"),
        (["--embeddings=E", "--labels=L", "--attribute_specs=3"], "attribute_specs is 3"),
        (["--embeddings=E", "--labels=L", "--attackrs=[mlp]"], "unknown attack setting 'attackrs'"),
        (["RUN", "--attackrs=[mlp, svm]"], "Did you mean 'attackers'"),
        (["--embeddings=E", "--labels=L", "--atributes", "[gender]"], "cannot read the argument '--atributes'"),
        (["--embeddings=E", "--labels=L", "--attributes=[gender]", "--fail_above=10"], "--fail_above is 10"),
        (["--embeddings=E", "--labels=L", "--fail_above=much"], "invalid float value"),
        (["--embeddings=E", "--labels=L", "--attributes=[gender]", "--output_dir=notes.txt"], "cannot write to"),
        (["--embeddings=E", "--labels=L", "--attack_views=top_k"], "embeddings.npz holds vectors only (served, table)"),
        (["--embeddings=nan.npz", "--labels=L", "--attack_views=[profil]"], "Did you mean profile"),
        (["--embeddings=long.npy", "--labels=L", "--attack_views=served"], "long.npy holds vectors only (given)"),
        (["RUN", "--attack_views=[tabel]"], "Did you mean table"),
        (["RUN", "--attack_views=profile", "--fail_above=0.1"], "does not guard the profile"),
        (["RUN", "--attack_views=[top_k_popular]", "--fail_above=0.1"], "does not guard the top_k_popular"),
        (["RUN", "--attackers=[logistik]"], "logistic"),
        (["RUN", "--attributes=[gendr]"], "Did you mean 'gender'"),
    ],
)
@pytest.mark.usefixtures("broken")
def test_a_mistake_is_one_line_and_exit_code_2_and_leaves_nothing(arguments, message, bpr, tmp_path, capsys):
    places = {"E": str(bpr / "embeddings.npz"), "L": str(USERS), "RUN": str(bpr)}
    before = sorted(tmp_path.rglob("*"))
    filled = []
    for argument in arguments:
        key, _, value = argument.rpartition("=")
        filled.append(f"{key}={places[value]}" if key and value in places else places.get(argument, argument))
    try:
        code = main(["audit", *filled, *([] if "logistik" in str(arguments) else QUICK[:1]), *QUICK[1:]])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    error = capsys.readouterr().err
    assert error.startswith("recbole-aia: ")
    assert message in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
