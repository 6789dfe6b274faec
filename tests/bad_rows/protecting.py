"""``protect``: its own files and options. Embeddings and labels are read as by ``audit``."""

import json

import numpy as np

from bad_rows.making import command, labelled, npz, pipe, put, vectors

LEARN = ("protect", "e.npz", "--labels", "l.user")


def protect(*given, make=None, case=""):
    """A protection with further arguments; the last of ``given`` are the words."""
    *arguments, words = given
    out = [] if any(each.startswith("--out") for each in arguments) else ["--out=p.npz"]
    return command(*LEARN, *out, *arguments, words, make=make or npz(), case=f"protect {case or ' '.join(arguments)}")


def later(words, make, case):
    """Protects by a map that is no map."""

    def made():
        npz()()
        make()

    return command("protect", "e.npz", "--with=m.npz", "--out=p.npz", words, make=made, case=f"protect with {case}")


def saved(**arrays):
    return lambda: np.savez("m.npz", **arrays)


ROWS = [
    protect("--out=p.npy", "It must end in .npz"),
    protect("--out=e.npz", "'e.npz' exists already"),
    protect("--out=nowhere/p.npz", "there is no folder 'nowhere'"),
    protect("--out=/proc/p.npz", "cannot write"),
    protect("--map=m.npy", "--map is 'm.npy'"),
    protect("--map=p.npz", "--out and --map are both 'p.npz'"),
    protect("--map=nowhere/m.npz", "there is no folder 'nowhere'"),
    protect("--attributes=5", "--attributes is 5"),
    protect("--attributes=[h]", "no attribute 'h'"),
    protect("--attributes={g: {bins: [2,1]}}", "ascending numbers"),
    protect("--seed=x", "invalid int value"),
    protect("--calibrated_labels=mine", "invalid choice: 'mine'"),
    protect("--calibrated_labels=own", "--map=m.npz", "makes no map"),
    protect("--with=m.npz", "give either --labels FILE"),
    protect("--what=1", "unknown argument '--what=1'"),
    protect("not finite", make=npz(embeddings=vectors() * np.nan), case="nan"),
    protect("single precision", make=npz(embeddings=vectors() * 1e30), case="1e30"),
    protect("is a pipe or a device", make=pipe("e.npz"), case="a pipe"),
    protect("nothing is left to tell apart", make=labelled("user,g\n1,a\n2,a\n3,a\n4,a\n5,a\n6,a\n"), case="one class"),
    command("protect", "e.npz", "--out=p.npz", "give either --labels FILE", make=npz(), case="protect without labels"),
    later("there is no file 'm.npz'", lambda: None, "nothing"),
    later("'m.npz' is no map", lambda: put("m.npz", "hello"), "a text"),
    later("'m.npz' is no map", lambda: put("m.npz", b""), "an empty file"),
    later("'m.npz' is no map", saved(a=vectors()), "other arrays"),
    later("'m.npz' is no map", saved(format=np.array("x"), report=np.array("{}")), "another format"),
    later(
        "'m.npz' is no map",
        saved(format=np.array("recbole-aia user map 1"), report=np.array("[" * 9999)),
        "a deep report",
    ),
    later(
        "'m.npz' is no map",
        saved(format=np.array("recbole-aia user map 1"), report=np.array(json.dumps(5))),
        "a number",
    ),
    later("is a pipe or a device", pipe("m.npz"), "a pipe"),
]
