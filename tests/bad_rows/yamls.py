"""Config files."""

from bad_rows.making import ACCEPTED, config, put, run

BOMB = "a0: &a0 [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"a{k}: &a{k} [{','.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 10)
)
ROWS = [
    config(BOMB + "attributes: *a9\n", "aliases", "alias bomb attributes"),
    config(BOMB + "attribute_specs: {group: {classes: *a9}}\n", "aliases", "alias bomb spec"),
    config("epochs: 1\nepochs: 2\n", "'c.yaml' line 2 gives the key 'epochs' twice"),
    config("x: &x [*x]\n", "holds a value inside itself"),
    config("attributes: &x {group: *x}\n", "holds a value inside itself"),
    config('attributes: ["no\\nsuch"]\n', r"no attribute 'no\nsuch'"),
    config("- epochs\n- 5\n", "holds something else than 'key: value' lines"),
    config("epochs\n", "holds something else than 'key: value' lines"),
    config("5: 6\n", "holds something else than 'key: value' lines"),
    config("[a]: 6\n", "not valid YAML"),
    config("epochs: [1\n", "not valid YAML"),
    config("epochs: 1\n epochs2: 2\n", "not valid YAML"),
    config("\tepochs: 1\n", "not valid YAML"),
    config("epochs: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
    config("epochs: *nothing\n", "not valid YAML"),
    config("seed: 2020-13-45\n", "'c.yaml'"),
    config("x: " + "[" * 200 + "]" * 200 + "\n", "is nested too deeply", "deep list"),
    config("x: " + "{a: " * 100_000 + "}" * 100_000 + "\n", "is nested too deeply", "deeper mapping"),
    config("eval_args: {order: RO, order: TO}\n", "gives the key 'order' twice"),
    config("a: &a {x: *b}\nb: &b {x: *a}\n", "not valid YAML"),
    config("---\nepochs: 1\n---\nepochs: 2\n", "not valid YAML"),
    config('worker: "\\0"\n', "worker is"),
    config("worker: many\n", "worker is 'many'"),
    config('data_path: "a\\0b"\n', "data_path is"),
    config("metric_decimal_place: -1\n", "metric_decimal_place is -1"),
    config("user_inter_num_interval: [5, 3]\n", "user_inter_num_interval is [5, 3]"),
    config("user_inter_num_interval: [1, 500]\n", ACCEPTED),
    config("eval_args: {split: {RS: [8, 1]}}\n", "three numbers > 0"),
    config("\ufeffepochs: 1\n", ACCEPTED),
    config("base: &base {split: {RS: [8, 1, 1]}}\neval_args: {<<: *base, order: RO, mode: full}\n", ACCEPTED),
    config("", ACCEPTED, "empty"),
    run(
        "--config_files",
        "c.yaml",
        "is not UTF-8 text",
        make=lambda: put("c.yaml", b"x: \xff\xfe\n"),
        case="yaml not UTF-8",
    ),
    run("--config_files", "c.yaml", "not valid YAML", make=lambda: put("c.yaml", b"x: \0\n"), case="yaml with NUL"),
    run("--eval_args={order: RO, order: TO}", "gives the key 'order' twice"),
    run("--attributes=&a [*a]", "holds a value inside itself"),
    run("--attributes=" + "[" * 100 + "]" * 100, "is nested too deeply", case="--attributes nested deeply"),
]
