"""``lvm-mtc demo`` and ``transmit``: pictures through schemes and channels, into a folder of results."""

import argparse
import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

import lvm_mtc
from lvm_mtc.cli.parser import DEMO_CSI_ERROR, DEMO_SCHEMES, DEMO_SNR_DB, UsageError
from lvm_mtc.cli.pictures import Objects, Views, demo_photographs, find_objects, load_views
from lvm_mtc.config import from_dict, replace_dotted
from lvm_mtc.evaluation.files import RECORD, atomic_directory, check_output_directory
from lvm_mtc.evaluation.grid import GridResult, Scheme, run_grid
from lvm_mtc.evaluation.knowledge_bases import DETECTOR_WEIGHTS, load_knowledge_base
from lvm_mtc.evaluation.report import describe, gain, interval, write_report
from lvm_mtc.evaluation.schemes import DEMO_WEIGHTS, SCHEMES, load_system, make_schemes
from lvm_mtc.interop import sionna
from lvm_mtc.interop.sionna import runtime
from lvm_mtc.knowledge import KnowledgeBase
from lvm_mtc.system import LinkConfig

DEMO_UAVS = 4
# With scale_aware 0.2 for a small object and 0.4 for one that fills the view, as the paper proposes.
DEMO_MASK_PROB = 0.3


def run_demo(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc demo``.

    Args:
        options: Of the parser.

    Raises:
        ValueError: for wrong input.
    """
    check_output_directory(options.out, overwrite=options.overwrite)
    system, params = load_system(DEMO_WEIGHTS)
    schemes = make_schemes(DEMO_SCHEMES, system, params, mask_prob=DEMO_MASK_PROB, scale_aware=True)
    # One axis for AWGN and fading needs a convention that measures what arrives.
    links = [LinkConfig(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh")]
    views = demo_photographs(DEMO_UAVS, system.config.image_size)
    objects = find_objects(views, load_knowledge_base(), "")
    _study(options, views, objects, schemes, links, DEMO_SNR_DB, DEMO_CSI_ERROR, title="lvm-mtc demo")


def run_transmit(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc transmit``.

    Args:
        options: Of the parser.

    Raises:
        ValueError: for wrong input.
    """
    check_output_directory(options.out, overwrite=options.overwrite)
    links = make_links(options.channel, options.convention, options.link)
    if links[0].csi == "mmse" and max(options.csi_error) >= 1:
        raise ValueError(f"--csi-error {max(options.csi_error):g}: under csi=mmse it must be < 1")
    if links[0].topology == "joint" and links[0].num_tx_ant != options.uavs:
        raise ValueError(f"--link num_tx_ant={links[0].num_tx_ant}: under topology=joint it must equal --uavs, "
                         f"{options.uavs}")
    system, params = load_system(options.weights or DEMO_WEIGHTS)
    schemes = make_schemes(options.schemes, system, params, keep=options.keep, mask_prob=options.mask_prob,
                           scale_aware=options.scale_aware, epsilon=options.epsilon)
    knowledge_base = _knowledge_base(options)
    views = load_views(options.images, size=system.config.image_size, num_uavs=options.uavs, views=options.views,
                       overlap=options.overlap, boxes=options.boxes, limit=options.limit)
    objects = find_objects(views, knowledge_base, options.task)
    title = f"lvm-mtc transmit {options.images}"
    _study(options, views, objects, schemes, links, options.snr_db, options.csi_error, title=title)


def _knowledge_base(options: argparse.Namespace) -> KnowledgeBase | None:
    """What the flags ask for; None for the middle of the view."""
    names = ("detector", "goal_filter", "clip", "clip_activation", "classifier", "words")
    files = {name: getattr(options, name) for name in names}
    if options.loc == "centre":
        given = [name for name, value in {**files, "task": options.task or None}.items() if value is not None]
        if given:
            raise UsageError(f"--loc centre looks for nothing, so it does not go with --{given[0].replace('_', '-')}")
        return None
    return load_knowledge_base(**files | {"detector": files["detector"] or DETECTOR_WEIGHTS})


def make_links(channels: Sequence[str], convention: str, fields: Sequence[tuple[str, Any]]) -> list[LinkConfig]:
    """One link a channel, all with the same other fields.

    Args:
        channels: Names of fading.
        convention: What the SNR means.
        fields: Other fields of ``LinkConfig`` with their values.

    Returns:
        Links in the order of ``channels``.

    Raises:
        ValueError: for an unknown field, a value that does not fit, or a channel of Sionna where that is missing.
    """
    options: dict[str, Any] = {"convention": convention}
    for name, value in fields:
        if name in ("fading", "convention"):
            raise ValueError(f"--link {name}={value}: use --{'channel' if name == 'fading' else name} for it")
        options = replace_dotted(options, name, value)
    links = [from_dict(LinkConfig, options | {"fading": channel}) for channel in channels]
    if any(channel in sionna.CHANNELS for channel in channels):
        runtime.check()
    return links


def _study(
    options: argparse.Namespace,
    views: Views,
    objects: Objects,
    schemes: Sequence[Scheme],
    links: Sequence[LinkConfig],
    snr_db: Sequence[float],
    csi_error_var: Sequence[float],
    *,
    title: str,
) -> None:
    start = time.monotonic()
    with atomic_directory(options.out, overwrite=options.overwrite) as folder:
        results = _run_all(options, views.images, objects.loc, schemes, links, snr_db, csi_error_var)
        count = f"{views.images.shape[0]} x {views.images.shape[1]} pictures, {options.realisations} realisations"
        write_report(folder, results, views.images, objects.loc, views.labels, title=f"{title}; {count}")
        _write_record(folder / RECORD, options, objects, results)
    print(f"loc: {objects.source}")
    print(summary(results))
    print(f"{title}: {count} in {time.monotonic() - start:.0f} s")
    for name in ("table.csv", "curves.png", "sheet.png", "pictures"):
        print(f"  {Path(options.out) / name}")


def _run_all(options, images, loc, schemes, links, snr_db, csi_error_var) -> list[GridResult]:
    def run(scheme: Scheme, link: LinkConfig) -> GridResult:
        result = run_grid(scheme, images, loc, jax.random.key(options.seed), link, snr_db=snr_db,
                          csi_error_var=csi_error_var, num_realisations=options.realisations)
        # Only the first scheme's pictures are shown; the others' would fill the memory.
        return result if scheme is schemes[0] else result._replace(pictures=None)

    # Two at a time: XLA compiles a program on one core.
    pool = ThreadPoolExecutor(max_workers=2)
    try:
        running = [pool.submit(run, scheme, link) for scheme in schemes for link in links]
        waiting = tqdm(running, desc="schemes x channels", disable=not sys.stderr.isatty(), leave=False)
        return [future.result() for future in waiting]
    finally:
        pool.shutdown(cancel_futures=True)


def _write_record(path: Path, options: argparse.Namespace, objects: Objects, results: Sequence[GridResult]) -> None:
    given = {name: value for name, value in vars(options).items() if name not in ("run", "parser")}
    record: Mapping[str, Any] = {
        "command": given,
        "versions": {"lvm_mtc": lvm_mtc.__version__, "jax": jax.__version__, "numpy": np.__version__,
                     "python": platform.python_version()},
        "device": jax.devices()[0].device_kind,
        "loc": {"source": objects.source, "boxes": np.round(objects.loc, 2).tolist()},
        **describe(results),
    }
    path.write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")


def summary(results: Sequence[GridResult]) -> str:
    """PSNR over SNR at the smallest CSI error, and what object-first masking gains, as text.

    Args:
        results: Of the grid.

    Returns:
        Lines.
    """
    first = results[0]
    lines = [f"mean PSNR (dB) whole | inside the box, CSI error {first.csi_error_var.min():g}, "
             f"SNR convention {first.link.convention}"]
    at = np.flatnonzero(np.isclose(first.csi_error_var, first.csi_error_var.min()))
    width = max(len(result.scheme.name) + len(result.link.fading) for result in results) + 2
    header = "".join(f"{first.snr_db[point]:>11g} dB" for point in at)
    lines.append(" " * width + header)
    for result in results:
        whole, inside = interval(result, "psnr_db"), interval(result, "psnr_inside_db")
        cells = "".join(f"{_cell(whole, point):>7}|{_cell(inside, point):>6}" for point in at)
        lines.append(f"{result.scheme.name + ', ' + result.link.fading:<{width}}{cells}")
    return "\n".join(lines + _gains(results))


def _gains(results: Sequence[GridResult]) -> list[str]:
    lines = []
    for link in dict.fromkeys(result.link for result in results):
        of = {result.scheme.name: result for result in results if result.link == link}
        if SCHEMES["object"] not in of or SCHEMES["uniform"] not in of:
            continue
        found = gain(of[SCHEMES["object"]], of[SCHEMES["uniform"]], "psnr_inside_db")
        if found is not None:
            best = int(np.argmax(of[SCHEMES["object"]].snr_db - 1e3 * of[SCHEMES["object"]].csi_error_var))
            lines.append(f"object first against uniform masking, inside the box, {link.fading}, "
                         f"{of[SCHEMES['object']].snr_db[best]:g} dB: {found.mean[best]:+.1f} +- "
                         f"{found.half_width[best]:.1f} dB")
    return lines


def _cell(found, point: int) -> str:
    return "-" if found is None else f"{found.mean[point]:.1f}"
