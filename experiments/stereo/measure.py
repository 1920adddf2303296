r"""Stereo pairs over SNR into a store: the codec, and its pictures matched and lifted afterwards.

    python -m experiments.stereo.measure --data ../shared/data --store docs/stereo/results.sqlite
    python -m experiments.stereo.page --store docs/stereo/results.sqlite --out docs/stereo

Fifty scenes that were not trained on, their textures from other photographs, and eight pairs of Middlebury at 96 x 80
pixels, of which there is no third view. All contenders send as many symbols and bits of side information.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.script import DATA, script
from experiments.stereo.decoupled import Decoupled, lifted
from experiments.stereo.pack import scenes
from experiments.stores import minus_the_others
from lvm_mtc.cli.stereo import source_of
from lvm_mtc.data.stereo import StereoPairs, load_stereo
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.metrics.pictures import psnr
from lvm_mtc.report.figures import Picture, save_sheet
from lvm_mtc.results.store import ResultStore
from lvm_mtc.results.table import write_csv
from lvm_mtc.schemes.gs_scnet.disparity import canonical, pool
from lvm_mtc.schemes.gs_scnet.lifting import views_of
from lvm_mtc.schemes.gs_scnet.scheme import GsScnet
from lvm_mtc.schemes.loading import STEREO_WEIGHTS, load_scheme
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.group import Resources
from lvm_mtc.sweep.paired import NamedSweep, run_paired_sweep
from lvm_mtc.sweep.stopping import StoppingRule

FULL, OTHER, DECOUPLED = "gs_scnet", "without fusion", "decoupled"
SYNTHETIC, REAL, FUSION = "stereo, synthetic", "stereo, Middlebury", "stereo, fusion"
SNR_DB, FUSION_SNR_DB = (0.0, 5.0, 10.0, 20.0), (5.0, 10.0)
STORE, METRICS = Path("docs/stereo/results.sqlite"), ("psnr_db", "psnr_middle_db", "ssim_middle", "epe", "overflow")
SCENES, SEED, REAL_SIZE = 50, 1_000_000, (80, 96)
CAPACITY = 192
"""Of the renderer's tiles: less than the scheme's own, for time; what does not fit is in the table of targets."""
_SHOWN, _SHOWN_SNR_DB = (0, 1, 2, 3), (0.0, 10.0, 20.0)


@script(
    data="folder with voc2012_320 and stereo (default: %(default)s)", weights="of the codec (default: the shipped)",
    other="of the codec without fusion; left out where not given", units="channel realisations, 4 or more",
    store="result store to add to; what it holds is not measured again",
)  # fmt: skip
def main(
    data: Path = DATA, weights: Path = STEREO_WEIGHTS, other: Path | None = None, store: Path = STORE, units: int = 4
) -> None:
    """Measure the stereo codec and what it is held against into a store."""
    synthetic, (real, _) = scenes(data, "val", SCENES, SEED), load_stereo(data / "stereo" / "test", REAL_SIZE)
    (full, decoupled), alone = contenders(weights), () if other is None else (_contender(OTHER, other),)
    sweeps = (
        (SYNTHETIC, synthetic, (full, decoupled), SNR_DB),
        (REAL, real, (full, decoupled), SNR_DB),
        *((FUSION, synthetic, (full, one), FUSION_SNR_DB) for one in alone),
    )
    store.parent.mkdir(parents=True, exist_ok=True)
    with ResultStore(store) as results:
        for name, pairs, schemes, snr_db in sweeps:
            spec = stereo_sweep(name, source_of(pairs), schemes, units, snr_db)
            run_paired_sweep(
                spec, minus_the_others(spec, FULL), results, resources=Resources(num_devices=1, items_per_device=4)
            )
            print(f"{name}: {len(results.read(spec.key()))} points", flush=True)
    write_csv(store.parent / "bounds.csv", bounds(synthetic, full.scheme))
    save_views(store.parent / "views.png", synthetic.take(np.array(_SHOWN)), full)


def contenders(weights: Path) -> tuple[Contender, Contender]:
    """The codec, and what its pictures alone are worth."""
    full = _contender(FULL, weights)
    return full, dataclasses.replace(full, name=DECOUPLED, scheme=Decoupled(full.scheme.config))


def _contender(name: str, weights: Path) -> Contender:
    scheme, params = load_scheme(weights)
    return Contender(name=name, scheme=_with(scheme, capacity=CAPACITY), params=params, swept=())


def stereo_sweep(
    name: str, source: Source, schemes: tuple[Contender, ...], units: int, snr_db: tuple[float, ...] = SNR_DB
) -> NamedSweep:
    """All contenders; intervals speak of other scenes, too."""
    missing = ("psnr_middle_db", "ssim_middle") if "middle" not in source.hints else ()
    size = source.data.shape[3:5]
    return NamedSweep(
        name=name,
        schemes=tuple(fitted(one, size) for one in schemes),
        links=(LinkConfig(fading="awgn", convention="rx_per_antenna"),),
        sources={1: source},
        snr_db=snr_db,
        stopping=StoppingRule(target_half_width=None, max_units=units),
        random_pictures=True,
        metrics=tuple(metric for metric in METRICS if metric not in missing),
        pictures_per_step=10 if missing == () else 8,
    )


def fitted(contender: Contender, size: tuple[int, int]) -> Contender:
    """The same for views of another height and width."""
    return dataclasses.replace(contender, scheme=_with(contender.scheme, size=tuple(size)))


def _with(scheme: GsScnet, **fields: Any) -> GsScnet:
    return dataclasses.replace(scheme, config=dataclasses.replace(scheme.config, **fields))


def bounds(pairs: StereoPairs, scheme: GsScnet) -> list[dict]:
    """Middle views without any channel: copies, and pixels that are lifted with the true disparity."""
    source, middle = source_of(pairs), np.float32(pairs.middle) / 255
    views = source.data[:, 0]
    made = {"the left view": views[:, 0], "the mean of both views": views.mean(1)}
    lost = dict.fromkeys(made, 0)
    camera = jnp.array([pairs.size[1], pairs.size[1], pairs.size[1] / 2, pairs.size[0] / 2, 1.0])
    for density, capacity in ((2, scheme.config.capacity), (1, 2 * scheme.config.capacity)):

        @jax.jit
        def view(pictures, disparity, density=density, capacity=capacity):
            true = pool(canonical(disparity), density)
            scene = lifted(canonical(pictures), true, jnp.broadcast_to(camera, (len(pictures), 5)), density)
            one = lambda s: views_of(s, jnp.array([0.5]), camera, pairs.size, capacity=capacity)  # noqa: E731
            return jax.lax.map(one, scene)

        seen, overflow = view(views, pairs.disparity)
        name = f"true pictures and disparity, density {density}"
        made[name], lost[name] = np.clip(seen[:, 0], 0, 1), int(overflow.sum())
    return [_bound(name, np.asarray(psnr(middle, of)), lost[name]) for name, of in made.items()]


def _bound(name: str, values: np.ndarray, overflow: int) -> dict:
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return {"view": name, "psnr_middle_db": float(values.mean()), "half_width": float(half), "overflow": overflow}


def save_views(path: Path, pairs: StereoPairs, contender: Contender) -> None:
    """A row a scene: both views, the middle one, what arrives of it, and the disparity that arrives."""
    scheme, source = contender.scheme, source_of(pairs)
    link = LinkConfig(fading="awgn", convention="rx_per_antenna")
    send = jax.jit(lambda snr_db: forward(
        scheme, contender.params, source, jax.random.key(0), link, OperatingPoint(snr_db=snr_db)).estimate)  # fmt: skip
    arrived = [(snr_db, jax.device_get(send(snr_db))) for snr_db in _SHOWN_SNR_DB]
    rows = []
    for scene in range(len(pairs)):
        left, right = source.data[scene, 0]
        known = {"left": left, "right": right, "middle": source.hints["middle"][scene, 0]}
        row = [Picture(image=view, caption=name) for name, view in known.items()]
        row += [Picture(image=got.data[scene, 0, 2], caption=f"middle, {snr_db:g} dB") for snr_db, got in arrived]
        depth = arrived[1][1].tells["disparity"][scene, 0, 0] / scheme.config.max_disparity
        caption = f"disparity, {_SHOWN_SNR_DB[1]:g} dB"
        rows.append([*row, Picture(image=np.repeat(depth[..., None], 3, -1), caption=caption)])
    save_sheet(
        path, rows, title="Scenes that were not trained on, over AWGN; the middle view is never sent", few_colours=True
    )


if __name__ == "__main__":
    sys.exit(main())
