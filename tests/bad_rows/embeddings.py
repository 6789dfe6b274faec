"""Embeddings and labels that are audited: broken archives, lying headers, tables and labels of every wrong form."""

import io
import lzma
import os
import zipfile
from pathlib import Path

import numpy as np

from bad_rows.making import ACCEPTED, audit, labelled, labels, members, npz, pipe, put, table, tokens, vectors

CSV = "user,d0,d1\n" + "".join(f"{user},{user / 7},{user % 3}\n" for user in range(1, 61))


def saved(array):
    """The bytes of an .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def claimed(shape, content=b"\0" * 64, kind="<f4"):
    """The bytes of an .npy file whose header claims a shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue() + content


def patched(at, value):
    """An npz whose first member's entries in both zip headers get other bytes."""

    def make():
        npz()()
        content = bytearray(Path("e.npz").read_bytes())
        local, central = content.index(b"PK\3\4"), content.index(b"PK\1\2")
        for start in (local + at, central + at + 2):
            content[start : start + len(value)] = value
        put("e.npz", bytes(content))

    return make


def damaged_lzma():
    members(("embeddings.npy", saved(vectors())), kind=zipfile.ZIP_LZMA)()
    content = bytearray(Path("e.npz").read_bytes())
    content[80:120] = bytes(40)
    put("e.npz", bytes(content))


def changed(old, new):
    """The good table of embeddings with a text replaced."""
    return table(CSV.replace(old, new, 1))


def npy(content):
    return lambda: (labels(), put("e.npy", content))


def cut(share):
    def make():
        npz()()
        content = Path("e.npz").read_bytes()
        put("e.npz", content[: int(len(content) * share)])

    return make


def no_letters(order, code):
    """Users whose first name holds a number that is no letter; ``order`` is that of its bytes."""
    letters = np.arange(60 * 3, dtype=np.uint32) + 65
    letters[0] = code
    return letters.astype(f"{order}u4").view(f"{order}U3")


def duplicated():
    members(("embeddings.npy", saved(vectors())), ("embeddings.npy", saved(vectors())))()


LABELS = "user,g\n" + "".join(f"{user},{'ab'[user % 2]}\n" for user in range(1, 61))
ROWS = [
    # archives
    audit("is encrypted", make=patched(6, b"\1\0"), case="encrypted npz"),
    audit("no .npz file", make=lambda: (labels(), put("e.npz", saved(vectors()))), case="npy as npz"),
    audit("two arrays of one name", make=duplicated, case="npz dup members"),
    audit("claims", make=members(("embeddings.npy", claimed((600_000_000_000,)))), case="npz header lies"),
    audit("not compressed as NumPy does it", make=damaged_lzma, case="npz lzma damaged"),
    audit(
        "not compressed as NumPy does it",
        make=members(("embeddings.npy", saved(vectors())), kind=zipfile.ZIP_BZIP2),
        case="npz bzip2",
    ),
    audit("in place of a letter", make=npz(user_tokens=no_letters("<", 0xFFFFFFFF)), case="npz users past Unicode"),
    audit("in place of a letter", make=npz(user_tokens=no_letters(">", 0xD800)), case="npz users half a letter"),
    audit("no array of NumPy's", make=members(("embeddings.npy", b"hello world")), case="npz member not npy"),
    audit("no array of NumPy's", make=members(("embeddings", b"plain bytes")), case="npz member plain bytes"),
    audit("no array of NumPy's", make=members(("embeddings.npy", b"")), case="npz member empty"),
    audit("holds no array", make=members(), case="npz without members"),
    audit("cannot be read", make=cut(0.5), case="npz cut in half"),
    audit("cannot be read", make=cut(0.0), case="npz empty"),
    audit("cannot be read", make=lambda: (labels(), put("e.npz", lzma.compress(saved(vectors())))), case="xz as npz"),
    audit("beginning of one", make=lambda: (labels(), put("e.npz", b"PK\3\4" + bytes(60))), case="npz only a mark"),
    audit("is encrypted", make=patched(6, b"\x09\0"), case="npz with other flags"),
    audit("not compressed", make=patched(8, b"\x63\0"), case="npz of compression 99"),
    audit("not compressed", make=patched(22, b"\xff\xff\xff\x7f"), case="npz size lies"),
    audit("cannot be read", make=patched(14, b"\1\2\3\4"), case="npz checksum wrong"),
    # single arrays
    audit("e.npy", "claims 2,400,000,000,000 bytes", make=npy(claimed((600_000_000_000,))), case="npy header 2.4TB"),
    audit("e.npy", "claims", make=npy(claimed((60, 4))), case="npy too short"),
    audit("e.npy", "cannot be read", make=npy(claimed((-1, 4))), case="npy negative shape"),
    audit("e.npy", "is of NumPy's format (9, 9)", make=npy(b"\x93NUMPY\x09\x09" + bytes(60)), case="npy version 9"),
    audit("e.npy", "cannot be read", make=npy(b"\x93NUMPY\1\0\x10\0{'descr': '<f4'}"), case="npy header incomplete"),
    audit("e.npy", "cannot be read", make=npy(b"\x93NUMPY\1\0\xff\xff{"), case="npy header cut"),
    audit("e.npy", "Object arrays", make=npy(claimed((1,), kind="|O")), case="npy of objects"),
    audit("e.npy", "no array of NumPy's", make=npy(b""), case="npy empty"),
    audit("e.npy", "is a pipe or a device", make=pipe("e.npy"), case="fifo"),
    audit("e.npz", "is a pipe or a device", make=pipe("e.npz"), case="fifo npz"),
    audit("e.csv", "is a pipe or a device", make=pipe("e.csv"), case="fifo csv"),
    audit("e.npz", "l.user", "is a pipe or a device", make=pipe("l.user"), case="fifo labels"),
    audit("e.npy", "Is a directory", make=lambda: (labels(), os.mkdir("e.npy")), case="a folder as npy"),
    audit("e.npy", "It must hold numbers", make=npy(saved(vectors().astype(complex))), case="npy complex"),
    audit("e.npy", "It must hold numbers", make=npy(saved(vectors() > 0)), case="npy of truth values"),
    audit("e.npy", "It must hold numbers", make=npy(saved(np.zeros((60, 0)))), case="npy without columns"),
    audit("e.npy", "It must hold numbers", make=npy(saved(np.zeros((60, 2, 2)))), case="npy of three dimensions"),
    audit("e.npy", "e.npy has 59 rows", make=npy(saved(vectors(59))), case="npy a row short"),
    # values
    audit("single precision", make=npz(embeddings=vectors().astype(float) * 1e300), case="f64 1e300"),
    audit("single precision", make=npz(embeddings=vectors() * 1e25), case="f32 1e25"),
    audit("not finite", make=npz(embeddings=vectors() * np.inf), case="infinite"),
    audit("not finite", make=npz(embeddings=vectors() * np.nan), case="nan"),
    audit("They must be counts >= 0", make=npz(interactions=np.full(60, -3)), case="interactions negative"),
    audit("must be whole numbers", make=npz(interactions=np.full(60, 0.5)), case="interactions halves"),
    audit("interactions (5,)", make=npz(interactions=np.arange(5)), case="interactions too few"),
    audit(ACCEPTED, make=npz(user_tokens=tokens().astype("S")), case="tokens bytes"),
    audit("cannot be read", make=npz(user_tokens=np.char.add(tokens().astype("S"), b"\xff")), case="tokens no utf-8"),
    audit("texts or whole numbers", make=npz(user_tokens=tokens().astype(float)), case="tokens floats"),
    audit("texts or whole numbers", make=npz(user_tokens=tokens().astype("M8[Y]")), case="tokens dates"),
    audit("user_tokens (60, 1)", make=npz(user_tokens=tokens()[:, None]), case="tokens of two dimensions"),
    audit("name the same user", make=npz(user_tokens=np.where(tokens() == "2", "1", tokens())), case="tokens twice"),
    audit(
        "name the same user",
        make=npz(user_tokens=np.where(tokens() == "2", "1 ", tokens())),
        case="users collide after strip",
    ),
    audit("no user of e.npz", make=npz(user_tokens=np.char.add(tokens(), ".0")), case="tokens 1.0 for 1"),
    audit("It must hold numbers", make=npz(embeddings=np.array([["a", "b"]] * 60)), case="embeddings of texts"),
    audit(
        "Name one 'embeddings'",
        make=npz(embeddings=None, a=vectors(), b=vectors()),
        case="two arrays, neither embeddings",
    ),
    audit("holds no array", make=npz(embeddings=None), case="tokens only"),
    audit("table (5, 4)", make=npz(table=vectors(5)), case="table too short"),
    # tables
    audit("e.csv", "the column 'd1' is not of numbers", make=changed(",1\n", ",True\n"), case="csv bool"),
    audit(
        "e.csv",
        "the column 'd1' is not of numbers",
        case="csv bool column",
        make=table("user,d0,d1\n" + "".join(f"{user},{user / 7},{user % 2 == 0}\n" for user in range(1, 61))),
    ),
    audit("e.csv", "holds a NUL character", make=changed("\n1,", "\n1\0,"), case="csv nul"),
    audit("e.csv", "cannot be read", make=table(""), case="csv empty"),
    audit("e.csv", "there are no numbers", make=table("user\n1\n2\n"), case="csv without numbers"),
    audit("e.csv", "there are no numbers", make=table("user,d0\n"), case="csv header only"),
    audit("e.csv", "more values than its header", make=changed("user,d0,d1", "user,d0"), case="csv wide"),
    audit("e.csv", "columns without a name or of the same name", make=changed("d1", "d0"), case="csv same names"),
    audit("e.csv", "is not of numbers", make=changed("\n1,", "\n1,x"), case="csv a text"),
    audit("e.csv", "not finite", make=changed(",1\n", ",inf\n"), case="csv inf"),
    audit("e.csv", "not finite", make=changed(",1\n", ",\n"), case="csv empty cell"),
    audit("e.csv", "single precision", make=changed(",1\n", ",1e300\n"), case="csv 1e300"),
    audit(
        "e.csv",
        "is not utf-8 text (line 2)",
        make=lambda: (labels(), put("e.csv", "user,d0\né,1\n".encode("latin-1"))),
        case="csv latin-1",
    ),
    audit("e.csv", "name the same user", make=changed("\n2,", "\n1,"), case="csv a user twice"),
    audit(
        "e.csv", "has a quote in row 1 that is not closed", make=changed("\n1,", '\n"1,'), case="csv quote not closed"
    ),
    audit("e.csv", ACCEPTED, make=table("\ufeff" + CSV), case="csv with a byte order mark"),
    audit("e.csv", ACCEPTED, make=table(CSV, encoding="utf-16"), case="csv utf-16"),
    audit("e.tsv", ACCEPTED, make=table(CSV.replace(",", "\t"), "e.tsv"), case="tsv"),
    audit("e.csv", ACCEPTED, make=table(CSV.replace(",", ";")), case="csv with semicolons"),
    audit("e.csv", "separates its columns by bars", make=table(CSV.replace(",", "|")), case="csv with bars"),
    audit("e.xls", "not a kind of embeddings", make=table(CSV, "e.xls"), case="a spreadsheet"),
    audit("e.parquet", "'e.parquet'", make=table(CSV, "e.parquet"), case="text as parquet"),
    # labels
    audit(
        "Is a quote not closed", make=labelled(LABELS.replace("1,b", '1,"b\nb"', 1)), case="labels attr newline quoted"
    ),
    audit("seems to be no header", make=labelled(LABELS.partition("\n")[2]), case="labels no header (numbers)"),
    audit("seems to be no header", make=labelled(LABELS.replace("user,g", "x0,a")), case="labels no header (texts)"),
    audit("holds a NUL character", make=labelled(LABELS.replace("\n1,", "\n1\0,")), case="labels nul"),
    audit("cannot be read", make=labelled(""), case="labels empty"),
    audit("no user of e.npz", make=labelled("user,g\n"), case="labels header only"),
    audit("no user of e.npz", make=labelled(LABELS.replace("\n", "\nu")), case="labels of other users"),
    audit("name the same user", make=labelled(LABELS.replace("\n2,", "\n1,")), case="labels a user twice"),
    audit("more values than its header", make=labelled(LABELS.replace("1,b", "1,b,c,d", 1)), case="labels a long line"),
    audit("of the same name", make=labelled(LABELS.replace("user,g", "user,user")), case="labels same names"),
    audit("it is not utf-8 text", make=labelled(LABELS.replace("a", "é").encode("latin-1")), case="labels latin-1"),
    audit("it is not utf-8 text", make=labelled(LABELS.replace("a", "女性").encode("gbk")), case="labels gbk"),
    audit("no column besides the users", make=labelled("user\n1\n2\n"), case="labels without attributes"),
    audit("classes", make=labelled(LABELS.replace("a", "b")), case="labels of one class"),
    audit(
        "60 classes",
        make=labelled("user,g\n" + "".join(f"{user},c{user}\n" for user in range(1, 61))),
        case="a class a user",
    ),
    audit(ACCEPTED, make=labelled("\ufeff" + LABELS), case="labels with a byte order mark"),
    audit(ACCEPTED, make=labelled(LABELS.encode("utf-16")), case="labels utf-16"),
    audit(ACCEPTED, make=labelled(LABELS.replace("a", "女")), case="labels of any language"),
    audit("--attributes=[h]", "no attribute 'h'", make=npz(), case="unknown attribute"),
    audit("--attributes=[g,g]", "different names", make=npz(), case="an attribute twice"),
    audit("--attributes={g: {bins: [1]}}", "g", make=npz(), case="bins of texts"),
    audit("--attributes={g: 5}", "attributes.g is 5", make=npz(), case="a specification that is a number"),
    audit("--attributes={g: {fild: g}}", "unknown entry 'fild'", make=npz(), case="a misspelt specification"),
    audit("--fail_above=2", "--fail_above is 2", make=npz(), case="a gate above 1"),
    audit("--fail_above=nan", "--fail_above is nan", make=npz(), case="a gate of nan"),
    audit("--fail_above=x", "invalid float value", make=npz(), case="a gate of text"),
    audit("--attack_folds=1", "attack_folds is 1", make=npz(), case="one fold"),
    audit("--attack_folds=1000", "1000", make=npz(), case="more folds than users"),
    audit("--seed=-1", "seed is -1", make=npz(), case="negative seed"),
    audit("--device=tpu", "device is 'tpu'", make=npz(), case="no such device"),
    audit("--before=b.npy", "'b.npy' cannot be read", make=npz(), case="an earlier release that is missing"),
]
