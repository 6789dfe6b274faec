"""Audits of files of vectors and of labels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from audited import QUICK, USERS, aligned, audit, gains, results

from recbole_aia.cli import main


class TestEmbeddings:
    def test_our_own_file_works_with_recboles_user_file_as_it_is(self, bpr, capsys):
        age = "{gender: , age: {bins: [35, 46], names: ['<35', 35-45, '>45']}}"
        assert (
            audit("--embeddings", bpr / "embeddings.npz", "--labels", USERS, f"--attributes={age}", "--output_dir=out")
            == 0
        )
        found = results()
        assert gains(found) == gains(results(bpr))
        assert found["audit"]["kind"] == "embeddings"
        assert found["audit"]["absent"] == 0
        assert "no defense is known of" in capsys.readouterr().out

    def test_every_format_gives_the_same_answer(self, arrays):
        tokens, embeddings = arrays
        columns = {f"d{i}": embeddings[:, i] for i in range(embeddings.shape[1])}
        np.savez("plain.npz", user_tokens=tokens, embeddings=embeddings)
        np.save("rows.npy", embeddings)
        np.savez("rows.npz", users=embeddings)
        np.savetxt("rows.csv", embeddings, delimiter=",")
        pd.DataFrame({"userId": tokens, **columns}).to_csv("named.csv", index=False)
        pd.DataFrame({"who": [f"u{t}" for t in tokens], **columns}).to_csv("first.tsv", index=False, sep="\t")
        aligned(tokens).to_csv("labels.csv", index=False)
        who = aligned(tokens).rename(columns={"user_id:token": "who"})
        who.assign(who="u" + who["who"]).sample(frac=1, random_state=0).to_csv("who.csv", index=False, sep=";")
        answers = []
        for file in ("plain.npz", "rows.npy", "rows.npz", "rows.csv", "named.csv", "first.tsv"):
            labels = "who.csv" if file == "first.tsv" else "labels.csv"
            assert (
                audit("--embeddings", file, "--labels", labels, "--attributes", "[gender]", f"--output_dir={file}.d")
                == 0
            )
            answers.append(gains(results(f"{file}.d"), "served" if file == "plain.npz" else "given")["gender"])
        assert answers == pytest.approx([answers[0]] * len(answers), abs=1e-3)

    def test_parquet_works_where_pyarrow_is_and_else_says_what_to_install(self, arrays, capsys):
        tokens, embeddings = arrays
        frame = pd.DataFrame({"user": tokens, "vector": list(embeddings)})
        try:
            frame.to_parquet("users.parquet")
        except ImportError:
            Path("users.parquet").write_bytes(b"PAR1")
            assert audit("--embeddings=users.parquet", "--labels", USERS) == 2
            assert "pip install pyarrow" in capsys.readouterr().err
            return
        assert audit("--embeddings=users.parquet", "--labels", USERS, "--attributes=[gender]", "--output_dir=out") == 0
        frame[["user"]].join(pd.DataFrame(embeddings).add_prefix("d")).to_parquet("users.parquet")
        assert audit("--embeddings=users.parquet", "--labels", USERS, "--attributes=[gender]", "--output_dir=wide") == 0
        assert gains(results(), "given") == gains(results("wide"), "given")

    def test_users_of_only_one_file_are_counted_and_said(self, arrays, capsys):
        tokens, embeddings = arrays
        np.savez("some.npz", user_tokens=tokens[:600], embeddings=embeddings[:600])
        aligned(tokens[100:]).to_csv("labels.csv", index=False)
        assert audit("--embeddings=some.npz", "--labels=labels.csv", "--attributes=[gender]", "--output_dir=out") == 0
        found, printed = results(), capsys.readouterr().out
        assert found["data"]["attributes"]["gender"]["missing"] == 100
        assert found["audit"]["absent"] == 343
        assert found["attacks"][0]["n_users"] == 500
        assert "343 of its users have no embedding" in printed
        assert "100 users without a label, not attacked" in printed

    def test_without_attributes_all_that_can_be_attacked_is_and_the_rest_is_said(self, bpr, capsys):
        arguments = ["--embeddings", bpr / "embeddings.npz", "--labels", USERS]
        assert audit(*arguments, "--output_dir=out") == 0
        assert results()["run"]["attributes"] == ["gender", "occupation"]
        assert (
            "zip_code is not audited: attribute 'zip_code' of ml-100k.user has 795 classes" in capsys.readouterr().out
        )
        assert audit(*arguments, "--fail_above=0.9") == 2
        assert "name what the gate guards" in capsys.readouterr().err

    def test_a_yaml_file_defines_attributes_and_settings(self, bpr):
        text = "attribute_specs: {sex: {field: gender}}\nattack_permutations: 20\nraid_eta: 2\n"
        Path("my.yaml").write_text(text)
        arguments = ["--embeddings", bpr / "embeddings.npz", "--labels", USERS, "--config_files", "my.yaml"]
        assert audit(*arguments, "--output_dir=out") == 0
        assert gains(results()).keys() == {"sex"}

    def test_an_attribute_too_rare_for_the_folds_is_said_and_the_others_are_audited(self, bpr, capsys):
        lines = (f"{i},{'FM'[i % 2]},{'yes' if i < 8 else 'no'}\n" for i in range(1, 944))
        Path("rare.csv").write_text("user,gender,vip\n" + "".join(lines))
        settings = [setting.replace("folds=3", "folds=10") for setting in QUICK]
        arguments = ["audit", f"--embeddings={bpr / 'embeddings.npz'}", "--labels=rare.csv", *settings]
        assert main([*arguments, "--output_dir=out"]) == 0
        assert "vip is not audited: attribute 'vip' has 1 of 2 classes" in capsys.readouterr().out
        assert results()["worst_case"].keys() == {"gender"}
        assert any("vip is not audited" in note for note in results()["audit"]["notes"])
        assert main([*arguments, "--fail_above=0.99"]) == 2
        assert "vip cannot be" in capsys.readouterr().err
