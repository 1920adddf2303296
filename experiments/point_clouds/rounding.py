r"""What 16-QAM costs a codec that learned for it, and one that learned without modulation and is rounded to it.

Both begin with the moments as values and learn in as many steps. The rounded one has at each SNR the best scale of
``SCALES``, chosen with the result at hand, which favours it.

    lvm-mtc train --config experiments/configs/point_clouds.py:qam16 --stage system \
        --data ../shared/data/clouds/modelnet10_1024.npz --run-dir runs/point_clouds_qam16
    lvm-mtc train --config experiments/configs/point_clouds.py:analogue --stage system \
        --data ../shared/data/clouds/modelnet10_1024.npz --run-dir runs/point_clouds_analogue
    python -m experiments.point_clouds.rounding --clouds ../shared/data/clouds/modelnet10_1024.npz
"""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.point_clouds.judge import CLOUDS, load_labelled
from experiments.point_clouds.names import SNR_DB
from experiments.script import as_json, script
from lvm_mtc.cli.clouds import load_cloud_contender
from lvm_mtc.link import LinkConfig
from lvm_mtc.phy.numerics import lift
from lvm_mtc.report.study import CLOUD_METRICS
from lvm_mtc.results.bootstrap import two_way_interval
from lvm_mtc.schemes.point_clouds.modulator import axis_levels
from lvm_mtc.schemes.point_clouds.scheme import PointClouds
from lvm_mtc.schemes.scheme import Params, Source
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.group import Resources
from lvm_mtc.sweep.plan import SweepSpec
from lvm_mtc.sweep.run import sample_points
from lvm_mtc.sweep.stopping import StoppingRule

ANALOGUE, ROUNDED, FOR_QAM = "analogue", "rounded", "learned for 16-QAM"
SCALES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0)
"""Root mean square of a cloud's symbols over that of 16-QAM, before they are rounded."""
ROUNDING = Path("docs/point_clouds/rounding.json")
_METRIC = CLOUD_METRICS[0]


@dataclasses.dataclass(frozen=True)
class Rounded(PointClouds):
    """An analogue codec with equal slots whose symbols are rounded to the nearest point of the QAM.

    Attributes:
        scale: Root mean square of a cloud's symbols over the QAM's, linear, > 0.
    """

    scale: float = 1.0

    def _symbols(self, params: Params, encoded: Any, condition: jax.Array, temperature: jax.Array) -> jax.Array:
        symbols, c = super()._symbols(params, encoded, condition, temperature), self.config
        sent = symbols[..., : c.num_symbols // c.num_tokens]
        unit = jnp.sqrt(jnp.mean(jnp.abs(sent) ** 2, axis=(-2, -1), keepdims=True)) / self.scale
        levels = axis_levels(c.bits_per_symbol)
        return unit * jax.lax.complex(_nearest(symbols.real / unit, levels), _nearest(symbols.imag / unit, levels))


def _nearest(values: jax.Array, levels: np.ndarray) -> jax.Array:
    gap = jnp.abs(values[..., None] - lift(levels, values.shape, 1))
    return jnp.asarray(levels)[jnp.argmin(gap, axis=-1)]


@script(
    clouds="packed clouds (default: %(default)s)", qam16="weights that learned for 16-QAM (default: %(default)s)",
    analogue="weights that learned without modulation (default: %(default)s)", out="JSON to write",
    count="test clouds, evenly spread over all", units="channel realisations, 4 or more",
)  # fmt: skip
def main(
    clouds: Path = CLOUDS, qam16: Path = Path("runs/point_clouds_qam16/system/weights.npz"),
    analogue: Path = Path("runs/point_clouds_analogue/system/weights.npz"), out: Path = ROUNDING, count: int = 48,
    units: int = 4,
) -> None:  # fmt: skip
    """Measure what rounding costs and what 16-QAM costs where it was learned."""
    test = load_labelled(clouds, "test").clouds
    test = test[np.linspace(0, len(test) - 1, count).round().astype(int)]
    learned, free = load_cloud_contender(qam16), load_cloud_contender(analogue)
    rows = costs(arrived(test, learned, free, units))
    out.write_text(as_json({"clouds": count, "units": units, "rows": rows}))
    print(f"{out}: {len(rows)} SNRs")


def arrived(test: np.ndarray, learned: Contender, free: Contender, units: int) -> dict[str, dict[float, np.ndarray]]:
    """D1 PSNR ``[units, n]`` by SNR over AWGN of clouds ``[n, 1024, 3]``, dB: by scheme, the rounded by scale."""
    rounded = {
        str(scale): dataclasses.replace(free, name=str(scale), scheme=Rounded(free.scheme.config, scale))
        for scale in SCALES
    }
    free, learned = dataclasses.replace(free, name=ANALOGUE), dataclasses.replace(learned, name=FOR_QAM)
    spec = SweepSpec(
        schemes=(free, learned, *rounded.values()),
        links=(LinkConfig(fading="awgn", convention="rx_per_antenna"),),
        sources={1: Source(test[:, None])},
        snr_db=SNR_DB,
        stopping=StoppingRule(target_half_width=None, max_units=units),
        metrics=(_METRIC,),
        pictures_per_step=24,
    )
    points = list(spec.coordinates())
    samples = sample_points(spec, points, resources=Resources(num_devices=1, items_per_device=12))
    found: dict[str, dict[float, np.ndarray]] = {}
    for at, one in zip(points, samples, strict=True):
        found.setdefault(at["scheme"], {})[at["snr_db"]] = one.metrics[_METRIC][..., 0]
    return found


def costs(found: Mapping[str, Mapping[float, np.ndarray]]) -> list[dict]:
    """Of each SNR the schemes' D1 PSNR, the scale, and differences in pairs; mean and half of a 95 % interval, dB."""
    rows = []
    for snr_db in SNR_DB:
        scale = max(SCALES, key=lambda one: found[str(one)][snr_db].mean())
        of = {ANALOGUE: found[ANALOGUE], ROUNDED: found[str(scale)], FOR_QAM: found[FOR_QAM]}
        of = {name: values[snr_db] for name, values in of.items()}
        pairs = ((ANALOGUE, ROUNDED), (ANALOGUE, FOR_QAM), (FOR_QAM, ROUNDED))
        of |= {f"{first} minus {second}": of[first] - of[second] for first, second in pairs}
        intervals = {name: [float(part) for part in two_way_interval(values)[:2]] for name, values in of.items()}
        rows.append({"snr_db": snr_db, "scale": scale} | intervals)
    return rows


if __name__ == "__main__":
    sys.exit(main())
