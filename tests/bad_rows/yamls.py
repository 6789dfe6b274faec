"""Config files."""

from bad_rows.making import config

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
]
