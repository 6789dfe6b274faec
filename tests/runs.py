"""Settings of a run that takes little time."""

FAST = {
    "show_progress": False,
    "epochs": 3,
    "eval_step": 3,
    "train_batch_size": 8192,
    "attackers": ["logistic"],
    "attack_repeats": 1,
    "attack_jobs": 1,
    "raid_atoms": 32,
}
