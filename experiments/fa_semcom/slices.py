r"""Answers by how a picture is sliced: the picture alone, or beside it four quadrants, or what the question matched.

Each answerer goes on from the shipped one with its own slices of the same training pictures, every fourth, and answers
the same questions about every second test picture, over AWGN with power by attention: at equal energy of a symbol, and
at equal energy of a picture, where more tokens mean less power. Six minutes behind the trainings.

    python -m experiments.fa_semcom.pack --sets carla --every 4 --slices grid --out build/slices
    python -m experiments.fa_semcom.pack --sets carla_test --every 2 --slices grid --out build/slices
    lvm-mtc train --config experiments/configs/fa_semcom.py:grid --stage system --data build/slices/carla_grid.npz \
        --start lvm_mtc/weights/fa_semcom.npz --run-dir runs/fa/grid

and likewise for ``base`` and ``matched``, then

    python -m experiments.fa_semcom.slices --packed build/slices --runs runs/fa
"""

import dataclasses
import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.fa_semcom.export import FILES
from experiments.fa_semcom.measure import AWGN, QUIET_DB
from experiments.script import script
from lvm_mtc.data.packed_questions import PackedQuestions, load_questions
from lvm_mtc.data.vqa import SUBJECTS
from lvm_mtc.knowledge.attention import SLICES
from lvm_mtc.link import OperatingPoint
from lvm_mtc.results.bootstrap import two_way_interval
from lvm_mtc.results.table import write_csv
from lvm_mtc.schemes.fa_semcom.scheme import WINDOW, FaSemCom
from lvm_mtc.schemes.loading import load_scheme
from lvm_mtc.schemes.question_source import question_source
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward

FILE = "slices.csv"
SNR_DB = (0.0, 4.0, 12.0, QUIET_DB)
"""Of a symbol with the picture alone."""
ABOUT = {"all": SUBJECTS, "vehicles": ("vehicle",), "lights and signs": ("traffic light", "traffic sign")}
ENERGIES = ("symbol", "picture")
"""What is equal."""
_UNITS, _AT_ONCE = 4, 64
_KNOBS = {"alpha": 0.5, "beta": 1.0}


@script(
    packed="folder with carla_test_<slices>.npz (default: %(default)s)",
    runs="folder with a run folder for each slicing (default: the shipped answerer answers all)",
    out="folder for the csv (default: %(default)s)",
)
def main(packed: Path = Path("build/slices"), runs: Path | None = None, out: Path = Path("docs/fa_semcom")) -> None:
    """Measure what slices are worth."""
    asked = {name: load_questions(packed / f"carla_test_{name}.npz") for name in SLICES}
    check_same_questions(asked)
    right, ledgers, tokens = {}, {}, {}
    for name, questions in asked.items():
        scheme, params = load_scheme(FILES["noisy"] if runs is None else runs / name / "system" / "weights.npz")
        slices = dict(num_patches=questions.chosen.shape[1] * WINDOW, slices="grid" if name == "grid" else "told")
        scheme = dataclasses.replace(scheme, config=dataclasses.replace(scheme.config, **slices))
        tokens[name] = np.mean((questions.chosen >= 0).sum(axis=1)) * WINDOW
        for energy in ENERGIES:
            less = 0.0 if energy == "symbol" else 10 * np.log10(tokens[name] / tokens["base"])
            for snr_db in SNR_DB:
                if name == "base" and energy != ENERGIES[0]:
                    right[name, energy, snr_db] = right[name, ENERGIES[0], snr_db]
                    continue
                right[name, energy, snr_db], ledgers[name] = measured(scheme, params, questions, snr_db - less)
        print(f"{name}: {tokens[name]:.0f} tokens a question, {ledgers[name]}", flush=True)
    write_csv(out / FILE, rows(right, asked["base"], tokens, ledgers))


def check_same_questions(asked: Mapping[str, PackedQuestions]) -> None:
    """Raises ``ValueError`` where slicings were packed for different questions."""
    first = asked["base"]
    for name, other in asked.items():
        for field in ("question", "answer", "picture"):
            if not np.array_equal(getattr(first, field), getattr(other, field)):
                raise ValueError(f"slices {name!r} were packed for other questions than 'base'")


def measured(
    scheme: FaSemCom, params: Any, questions: PackedQuestions, snr_db: float
) -> tuple[np.ndarray, dict[str, float]]:
    """Whether each answer is right, ``[units, questions]``, and the mean channel uses and side information bits."""
    count, right, costs = len(questions.answer), [], []
    for start in range(0, count, _AT_ONCE):
        index = np.minimum(np.arange(start, start + _AT_ONCE), count - 1)
        source = jax.tree.map(jnp.asarray, question_source(questions, index[:, None]))
        own = [_right(scheme, params, source, jax.random.key(start + unit), snr_db) for unit in range(_UNITS)]
        right.append(np.stack([np.asarray(one[0]) for one in own])[:, : count - start])
        costs.append(np.stack([np.asarray(part) for part in own[0][1:]])[:, : count - start])
    uses, side = np.concatenate(costs, axis=1).mean(axis=1)
    return np.concatenate(right, axis=1), {"channel_uses": float(uses), "side_information_bits": float(side)}


@functools.partial(jax.jit, static_argnums=0)
def _right(scheme: FaSemCom, params: Any, source: Source, key: jax.Array, snr_db: jax.Array):
    out = forward(scheme, params, source, key, AWGN, OperatingPoint(snr_db, 0.0, _KNOBS))
    right = jnp.argmax(out.estimate.data[:, 0], axis=-1) == source.data["answer"][:, 0]
    return right, out.ledger.channel_uses(), out.sent.side_bits


def rows(
    right: Mapping[tuple[str, str, float], np.ndarray],
    asked: PackedQuestions,
    tokens: Mapping[str, float],
    ledgers: Mapping[str, Mapping[str, float]],
) -> list[dict]:
    """A row a slicing, energy, SNR and subject: accuracy, and its difference to the picture alone; 95 % intervals.

    Two-way bootstrap over draws of noise and questions; the SNR is that of a symbol with the picture alone.
    """
    found = []
    for (name, energy, snr_db), values in right.items():
        for subject, names in ABOUT.items():
            own = np.isin(asked.question[:, 1], [SUBJECTS.index(one) for one in names])
            samples = np.float64(values[:, own])
            mean, half_width, _ = two_way_interval(samples)
            gain, of_gain, _ = two_way_interval(samples - right["base", energy, snr_db][:, own])
            found.append({
                "slices": name, "tokens": tokens[name], **ledgers[name], "energy": energy, "snr_db": snr_db,
                "snr_convention": AWGN.convention, "about": subject, "questions": int(own.sum()),
                "accuracy": float(mean), "half_width": _finite(half_width),
                "difference": None if name == "base" else float(gain),
                "difference_half_width": None if name == "base" else _finite(of_gain),
            })  # fmt: skip
    return found


def _finite(half_width: Any) -> float | None:
    return float(half_width) if np.isfinite(half_width) else None


if __name__ == "__main__":
    sys.exit(main())
