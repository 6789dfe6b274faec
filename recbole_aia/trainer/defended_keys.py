"""The keys of every defense."""

from __future__ import annotations

from recbole_aia.config.keys import Choice, Key, Path, Share

#: The keys that every defense reads.
DEFENDED_KEYS: dict[str, Key] = {
    "init_checkpoint": Path(
        None,
        "A checkpoint from which the defended training starts. A defense after training starts from it and is compared "
        "with it. ~: none; a defense after training takes the undefended twin.",
    ),
    "holdout_users": Share(
        None,
        "Share of the labelled users, in (0, 1), whose labels the defense does not see. Their leak is reported apart. "
        "~: none.",
    ),
}
SELECT = Choice(
    "last",
    "The state that is kept: last, or valid_after_phase1 (which may be half defended).",
    choices=("last", "valid_after_phase1"),
)
