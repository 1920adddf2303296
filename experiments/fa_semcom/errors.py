r"""Bit errors of each level of attention at 12 dB, counted and by closed form, and the map of one picture (Fig. 9).

Uncoded QPSK over AWGN and under Fisher-Snedecor F fading, one fade a symbol: features of CARLA's test pictures with
the powers that their questions ask for. Two minutes.

    python -m experiments.fa_semcom.pack --out build/vqa
    python -m experiments.fa_semcom.errors --packed build/vqa --out docs/fa_semcom
    python -m experiments.fa_semcom.page
"""

import functools
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.fa_semcom.export import FILES
from experiments.fa_semcom.measure import AWGN, FAST
from experiments.fa_semcom.pack import PACKED
from experiments.script import script
from lvm_mtc import phy
from lvm_mtc.data.packed_questions import load_questions
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.metrics.answers import patch_bit_errors
from lvm_mtc.models.patch_features import GRID
from lvm_mtc.report.figures import Picture, save_sheet
from lvm_mtc.results.table import write_csv
from lvm_mtc.schemes.fa_semcom.allocation import NUM_LEVELS
from lvm_mtc.schemes.fa_semcom.scheme import FaSemCom
from lvm_mtc.schemes.loading import load_scheme
from lvm_mtc.schemes.question_source import question_source
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward

SNR_DB = 12.0
LINKS = {"AWGN": AWGN, "F fading, one fade a symbol": FAST}
ALPHAS = {"both": 0.5, "subjective": 0.0}
BETAS = (0.0, 0.5, 1.0)
FILE, MAP = "errors.csv", "errors.png"
_FAINTEST = 1e-5
"""Bit error rates from here down are black on the map."""


@script(packed="folder of experiments.fa_semcom.pack (default: %(default)s)", out="folder for the csv and the map",
        questions="test questions, evenly spread over all", draws="of noise and fades")  # fmt: skip
def main(packed: Path = PACKED, out: Path = Path("docs/fa_semcom"), questions: int = 96, draws: int = 8) -> None:
    """Count bit errors by level and place."""
    asked = load_questions(packed / "carla_test_base.npz")
    scheme, params = load_scheme(FILES["noisy"])
    take = np.linspace(0, len(asked.answer) - 1, questions).round().astype(int)
    source = jax.tree.map(jnp.asarray, question_source(asked, take[:, None]))
    write_csv(out / FILE, list(rows(scheme, params, source, draws)))
    matched = int(take[np.argmax([asked.subjective[i].any() * (1 - asked.subjective[i].mean()) for i in take])])
    one = jax.tree.map(jnp.asarray, question_source(asked, np.full((questions, 1), matched)))
    title = f"Bit error rate of each patch at {SNR_DB:g} dB under F fading, black {_FAINTEST:g}, white 0.1"
    save_sheet(out / MAP, maps(scheme, params, one, draws), row_labels=("counted", "closed form"), title=title)


@functools.partial(jax.jit, static_argnums=(0, 4))
def _patches(scheme: FaSemCom, params: Any, source: Source, key: jax.Array, link: LinkConfig, point: OperatingPoint):
    """Levels, powers and counted bit error rates of the patches, ``[n, tokens]`` each."""
    out = forward(scheme, params, source, key, link, point)
    return tuple(array[:, 0] for array in (out.sent.tells["levels"], out.sent.tells["power"], patch_bit_errors(out)))


def patches(
    scheme: FaSemCom, params: Any, source: Source, link: LinkConfig, alpha: float, beta: float, draws: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Levels, bit error rates as counted and by closed form, ``[n, tokens]`` each; the same draws serve all."""
    point = OperatingPoint(SNR_DB, 0.0, {"alpha": alpha, "beta": beta})
    counted = []
    for key in range(draws):
        levels, power, errors = _patches(scheme, params, source, jax.random.key(key), link, point)
        counted.append(np.asarray(errors, np.float64))
    return np.asarray(levels), np.mean(counted, axis=0), np.asarray(closed_form(link, power), np.float64)


def closed_form(link: LinkConfig, power: jax.Array) -> jax.Array:
    """Bit error rate of QPSK at each patch's power."""
    es_no = power * 10 ** (SNR_DB / 10)
    if link.fading == "awgn":
        return phy.qam_ber(es_no)
    return phy.fisher_snedecor_ber(es_no, m_f=link.m_f, m_s=link.m_s)


def rows(scheme: FaSemCom, params: Any, source: Source, draws: int) -> Iterable[dict]:
    """A row a channel, attention, beta and level that occurs.

    ``deviations`` is counted minus closed form in standard errors; under fading both bits of a symbol share its fade,
    and count as one.
    """
    bits = scheme.config.bits_of_patch() * draws
    for channel, link in LINKS.items():
        for (attention, alpha), beta in ((one, beta) for one in ALPHAS.items() for beta in BETAS):
            levels, counted, own = patches(scheme, params, source, link, alpha, beta, draws)
            for level in range(1, NUM_LEVELS + 1):
                inside = levels == level
                if inside.any():
                    want, found = own[inside].mean(), counted[inside].mean()
                    independent = inside.sum() * bits / (1 if channel == "AWGN" else 2)
                    error = np.sqrt(np.mean(own[inside] * (1 - own[inside])) / independent)
                    yield {
                        "channel": channel, "attention": attention, "beta": beta, "level": level,
                        "patches": int(inside.sum()), "bits": int(inside.sum()) * bits, "counted": float(found),
                        "closed_form": float(want), "deviations": float((found - want) / error),
                    }  # fmt: skip


def maps(scheme: FaSemCom, params: Any, source: Source, draws: int) -> list[list[Picture]]:
    """Bit error rates of one picture's patches, counted over all realisations and by closed form; a column a beta."""
    counted, own = [], []
    for beta in BETAS:
        _, found, want = patches(scheme, params, source, FAST, ALPHAS["both"], beta, draws)
        counted.append(Picture(image=_shade(found.mean(0)), caption=f"beta {beta:g}, mean {found.mean():.2e}"))
        own.append(Picture(image=_shade(want.mean(0)), caption=f"beta {beta:g}, mean {want.mean():.2e}"))
    return [counted, own]


def _shade(rates: np.ndarray) -> np.ndarray:
    """Grey by the logarithm of a rate, ``[rows, columns, 3]``."""
    low = np.log10(_FAINTEST)
    grey = np.clip((np.log10(np.maximum(rates, _FAINTEST)) - low) / (-1 - low), 0, 1)
    return np.repeat(grey.reshape(*GRID, 1), 3, axis=-1)


if __name__ == "__main__":
    sys.exit(main())
