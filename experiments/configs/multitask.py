r"""One backbone for four tasks over AWGN, -5 to 15 dB: it learns classes and captions, then adapters and heads learn.

python -m experiments.multitask.pack --data ../shared/data --questions build/vqa --out build/tasks
lvm-mtc train --config experiments/configs/multitask.py:backbone --stage backbone --data build/tasks \
  --run-dir runs/mt/backbone
lvm-mtc train --config experiments/configs/multitask.py:tasks --stage tasks --data build/tasks \
  --start runs/mt/backbone/backbone/weights.npz --run-dir runs/mt/shared

``tasks`` and ``heads`` learn the four tasks together; ``class``, ``picture``, ``text`` and ``answers`` (stage
``alone``) a network for that task, in as many steps and with as many examples of it. ``experiments.multitask.learn``
runs them all. Cost and score: docs/multitask.md.
"""

from ml_collections import ConfigDict

BACKBONE_STEPS, STEPS = 4000, 200
VALIDATE_EVERY = {BACKBONE_STEPS: 500, STEPS: 100}
EXAMPLES = {"class": 32, "picture": 16, "text": 32, "answers": 32}
"""Of each task in a step."""
PRE_TRAINING = {"class": 64, "text": 32}
MATRICES = ["qkv", "proj", "fc1", "fc2", "mix", "out", "merge"]


def get_config(name: str = "tasks") -> ConfigDict:
    """Returns the recipe, as ``from_dict`` takes it; ``name`` is "backbone", "tasks", "heads" or a task."""
    if name not in ("backbone", "tasks", "heads", *EXAMPLES):
        raise ValueError(f"name must be backbone, tasks, heads, {', '.join(EXAMPLES)}, got {name!r}")
    link = dict(fading="awgn", convention="rx_per_antenna")
    examples = {name: EXAMPLES[name]} if name in EXAMPLES else PRE_TRAINING if name == "backbone" else EXAMPLES
    optimizer = dict(learning_rate=2e-3, warmup_steps=50, end_fraction=0.02)
    if name == "backbone":
        optimizer |= dict(muon=MATRICES, muon_learning_rate=5e-3)
    elif name in EXAMPLES:  # all of a network that has learned already moves, and slowly
        optimizer |= dict(learning_rate=5e-4, muon=MATRICES, muon_learning_rate=1e-3)
    steps = BACKBONE_STEPS if name == "backbone" else STEPS
    config = ConfigDict(dict(
        scheme="multitask",
        config=dict(task=next(iter(examples))),
        scenarios=[dict(num_groups=count, config=dict(task=task), link=link) for task, count in examples.items()],
        ranges=dict(snr_db=[-5.0, 15.0], csi_error_var=[0.0, 0.0]),
        stages={"alone" if name in EXAMPLES else name: dict(
            batch_size=sum(examples.values()), total_steps=steps, checkpoint_every=250, log_every=50,
            validate_every=VALIDATE_EVERY[steps], ema_decay=0.99, optimizer=optimizer,
        )},
    ))  # fmt: skip
    config.lock()
    return config
