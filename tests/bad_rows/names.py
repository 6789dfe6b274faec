"""Names and paths with characters that no name should have, too long, or of the wrong kind of file."""

from bad_rows.making import ACCEPTED, command, run

ROWS = [
    run("--dataset=a\nb", r"'a\nb'"),
    run("--model=BPR\n", r"no model 'BPR\n'"),
    run("--attackers=[logistic]\n", ACCEPTED),
    run("--data_path=a\nb", r"a\nb"),
    run("--defense=a\nb", r"no defense 'a\nb'"),
    run("--init_checkpoint=a\nb", "--defense=attrcloak", r"'a\nb'"),
    run("--model=a\nb", r"no model 'a\nb'"),
    run("--output_dir=/proc/a\nb", r"cannot write to '/proc/a\nb'"),
    run("a\nb", r"cannot read the argument 'a\nb'"),
    command("audit", "--embeddings", "a\nb.npy", "--labels", "c", r"'a\nb.npy' cannot be read"),
    command("export", "x\ny", "--out", "z", r"'x\ny'"),
    command("unlearn", "--checkpoint", "a\nb", "--output_dir", "o", "--attributes=[group]", r"'a\nb'"),
]
