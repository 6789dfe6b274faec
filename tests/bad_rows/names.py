"""Names and paths with characters that no name should have, too long, or of the wrong kind of file."""

from bad_rows.making import ACCEPTED, command, pipe, run

LONG = "x" * 300

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
    *(
        run(f"--{key}={LONG}", "", case=f"--{key} of 300 characters")
        for key in ("dataset", "data_path", "checkpoint_dir")
    ),
    run(f"--model={LONG}", "RecBole has no model", case="--model of 300 characters"),
    run(f"--output_dir={LONG}", "output_dir is", case="--output_dir of 300 characters"),
    run(
        f"--init_checkpoint={LONG}",
        "--defense=attrcloak",
        "init_checkpoint is",
        case="init_checkpoint of 300 characters",
    ),
    run("--config_files", LONG, "", case="config file of 300 characters"),
    run("--dataset=a\0b", "holds a NUL character", case="dataset with NUL"),
    run("--output_dir=a\0b", "holds a NUL character", case="output_dir with NUL"),
    run("--model=BPR\x1b[31m", r"no model 'BPR\x1b[31m'", case="model with a colour"),
    run("--dataset=a/b", "dataset is 'a/b'"),
    run("--dataset=", "dataset is ''"),
    run("--output_dir=/proc/x", "cannot write to '/proc/x'"),
    run("--output_dir=dataset/synthetic/synthetic.inter", "cannot write to"),
    run("--checkpoint_dir=/proc/x", "cannot write to '/proc/x'"),
    run("--checkpoint_dir=dataset/synthetic/synthetic.inter", "cannot write to"),
    run("--config_files", "missing.yaml", "the config file 'missing.yaml' does not exist"),
    run("--config_files", "dataset", "the config file 'dataset' cannot be read"),
    run(
        "--config_files",
        "c.yaml",
        "'c.yaml' is a pipe or a device",
        make=pipe("c.yaml"),
        case="config file that is a pipe",
    ),
    run("--config_files", "/dev/zero", "'/dev/zero' is a pipe or a device"),
    run(
        "--init_checkpoint=c.pth",
        "--defense=attrcloak",
        "is no file but a pipe or a device",
        make=pipe("c.pth"),
        case="init_checkpoint that is a pipe",
    ),
    command("audit", "--embeddings", f"{LONG}.npy", "--labels", "l", "", case="audit a name of 300 characters"),
    command(
        "audit", "--embeddings", "a\0b.npy", "--labels", "l", "holds a NUL character", case="audit a name with NUL"
    ),
    command("audit", "--embeddings", "/dev/zero", "--labels", "l", "not a kind of embeddings"),
    command("audit", LONG, "", case="audit a run of 300 characters"),
    command("audit", "nowhere", "'nowhere' is not a run's folder"),
    command("audit", "nothing is given to audit"),
    command("export", LONG, "--out", "z", "", case="export a run of 300 characters"),
    command("export", "nowhere", "--out", "z", "'nowhere' cannot be read"),
    command("export", "nowhere", "--out", "expected one argument", case="export without a file"),
    command("protect", "", case="protect nothing"),
    command("doctor", "--fix", "unknown argument '--fix'"),
    command("dance", "invalid choice: 'dance'"),
    command("", case="no command"),
    command("run", "no model is given", case="run nothing"),
]
