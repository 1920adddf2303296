"""``lvm-mtc demo`` and ``transmit``: pictures through schemes and links, as sweeps, into a folder of results."""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
from tqdm import tqdm

from lvm_mtc.cli.errors import UsageError
from lvm_mtc.cli.pictures import Objects, Views, demo_photographs, find_objects, load_views, size_of
from lvm_mtc.cli.sending import check_idle, fit_contenders, load_contenders, make_links, transmit_links
from lvm_mtc.data.batches import chunks_of
from lvm_mtc.knowledge import KnowledgeBase
from lvm_mtc.knowledge.loading import DETECTOR_WEIGHTS, load_knowledge_base
from lvm_mtc.link import Scene
from lvm_mtc.report.scene import add_below, save_scene
from lvm_mtc.report.shown import show
from lvm_mtc.report.study import METRICS, describe, write_report
from lvm_mtc.results.files import RECORD, atomic_directory, check_output_directory, scratch_directory
from lvm_mtc.results.points import Point, canonical_json
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.scheme import Masking
from lvm_mtc.schemes.tiled import Tiled
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.group import Resources, check_memory
from lvm_mtc.sweep.named import MASKINGS
from lvm_mtc.sweep.paired import PREFIX, NamedSweep, Pair, run_paired_sweep
from lvm_mtc.sweep.plan import picture_source
from lvm_mtc.sweep.rows import versions
from lvm_mtc.sweep.stopping import StoppingRule

DEMO_UAVS = 4
DEMO_CONTENDERS = ("importance", "importance-uniform", "importance-pca", "object", "uniform", "all", "pca")
DEMO_SNR_DB = (0.0, 5.0, 10.0, 15.0, 20.0)
DEMO_CSI_ERROR = (0.0, 0.05)
# With scale_aware 0.2 for a small object and 0.4 for one that fills the view, as the paper proposes.
DEMO_MASK_PROB = 0.3
_TRANSMITTED = ("importance", "object", "uniform", "all", "pca")
_PICTURES_PER_STEP = 32
_ITEMS_AT_ONCE = 32
_COMPARED = (("importance", "importance-uniform"), ("object", "uniform"))


def run_demo(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc demo``; raises ``ValueError`` for wrong input."""
    check_output_directory(options.out, overwrite=options.overwrite)
    scheme, contenders = load_contenders(None, DEMO_CONTENDERS, (), mask_prob=DEMO_MASK_PROB, scale_aware=True)
    # One axis for AWGN and fading needs a convention that measures what arrives.
    links = make_links(("awgn", "rayleigh"), "rx_per_antenna", ())
    views = demo_photographs(DEMO_UAVS, scheme.config.image_size)
    objects = find_objects(views, load_knowledge_base(), "")
    _study(options, views, objects, contenders, links, DEMO_SNR_DB, DEMO_CSI_ERROR, title="lvm-mtc demo")


def run_transmit(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc transmit``; raises ``ValueError`` for wrong input."""
    check_output_directory(options.out, overwrite=options.overwrite)
    links = transmit_links(options)
    rule = {name: getattr(options, name) for name in ("keep", "mask_prob", "scale_aware", "epsilon", "importance_db")}
    scheme, contenders = load_contenders(options.weights, options.schemes, _TRANSMITTED, **rule)
    schemes = options.schemes or (_TRANSMITTED if isinstance(scheme, Masking) else ())
    check_idle(options, schemes, contenders)
    knowledge_base = _knowledge_base(options)
    cut = {name: getattr(options, name) for name in ("views", "overlap", "boxes", "limit")}
    side = scheme.config.image_size
    said: list[str] = []
    views = load_views(options.images, size=size_of(options.size, side), num_uavs=options.uavs, **cut, say=said.append)
    several = views.extent is not None
    contenders = fit_contenders(contenders, *views.images.shape[2:4], several=several, say=said.append)
    objects = find_objects(views, knowledge_base, options.task)
    title = f"lvm-mtc transmit {options.images}"
    _study(options, views, objects, contenders, links, options.snr_db, options.csi_error, title=title, said=said)


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


def _study(
    options: argparse.Namespace,
    views: Views,
    objects: Objects,
    contenders,
    links,
    snr_db,
    csi_error_var,
    *,
    title: str,
    said: Sequence[str] = (),
) -> None:
    start = time.monotonic()
    num_groups, num_uavs = views.images.shape[:2]
    axes = dict(
        links=tuple(links),
        sources={num_uavs: picture_source(views.images, objects.loc, extent=views.extent)},
        snr_db=tuple(snr_db),
        csi_error_var=tuple(csi_error_var),
        seeds=(options.seed,),
        stopping=StoppingRule(target_half_width=None, max_units=options.realisations),
    )
    if isinstance(contenders[0].scheme, Tiled):
        axes["pictures_per_step"] = num_uavs
    sweeps = study_sweeps(contenders, **axes)
    budget = {"memory_budget": max(int(options.memory * 2**30), 1)} if hasattr(options, "memory") else {}
    for spec in sweeps:
        check_memory(spec, Resources(num_devices=1, **budget))
    for line in said:
        print(line, flush=True)
    count = f"{num_groups} x {num_uavs} pictures, {options.realisations} realisations"
    with atomic_directory(options.out, overwrite=options.overwrite) as folder:
        points, gains = measure_study(sweeps, **budget)
        order = [contender.name for contender in contenders]
        points = sorted(points, key=lambda point: order.index(point.coordinates["scheme"]))
        shown = show(sweeps[0], [at for at in sweeps[0].coordinates() if at["scheme"] == order[0]])
        write_report(folder, points, shown, objects.loc, views.labels, links=links, title=f"{title}; {count}")
        if isinstance(links[0].carrier, Scene):
            save_scene(folder / "scene.png", links[0].carrier, num_uavs)
            add_below(folder / "sheet.png", folder / "scene.png")
        record = {
            "command": {name: value for name, value in vars(options).items() if name not in ("run", "parser")},
            "versions": versions(),
            "device": jax.devices()[0].device_kind,
            "loc": {"source": objects.source, "boxes": np.round(objects.loc, 2).tolist()},
            **describe(contenders, links),
        }
        (folder / RECORD).write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")
    print(f"loc: {objects.source}")
    print(summary(points, gains))
    print(f"{title}: {count} in {time.monotonic() - start:.0f} s")
    for name in ("table.csv", "curves.png", "sheet.png", "scene.png", "pictures"):
        if (options.out / name).exists():
            print(f"  {options.out / name}")


def study_sweeps(contenders: Sequence[Contender], **fields) -> list[NamedSweep]:
    """A sweep for each size of what contenders send: so each has the channels that it would have alone."""
    by_size: dict[tuple[int, int], list[Contender]] = {}
    for contender in contenders:
        by_size.setdefault(contender.scheme.frames(), []).append(contender)
    fields = dict(metrics=METRICS, pictures_per_step=_PICTURES_PER_STEP) | fields
    return [
        NamedSweep(name=", ".join(contender.name for contender in group), schemes=tuple(group), **fields)
        for group in by_size.values()
    ]


def measure_study(sweeps: Sequence[NamedSweep], **budget: int) -> tuple[list[Point], list[Point]]:
    """Runs sweeps of one study into a temporary store; ``budget`` may be ``memory_budget`` of ``Resources``.

    Returns:
        All points in the order of the sweeps; and, where both are there, what object first gains over uniform, by
        importance and by masking, at the best operating point of each channel.
    """
    with scratch_directory() as folder, ThreadPoolExecutor(max_workers=2) as pool:
        path = folder / "study.sqlite"
        total, quiet = sum(len(spec.links) for spec in sweeps), not sys.stderr.isatty()
        bar = tqdm(total=total, desc="sweeps x channels", disable=quiet, leave=False)

        def run(spec: NamedSweep) -> None:
            items = len(spec.snr_db) * len(spec.csi_error_var) * spec.stopping.max_units
            _, _, at_once = chunks_of(items, _ITEMS_AT_ONCE)[0]
            resources = Resources(num_devices=1, items_per_device=at_once, **budget)
            with ResultStore(path) as store:
                run_paired_sweep(spec, _pairs(spec), store, resources=resources, progress=lambda *_: bar.update())

        try:
            # Two at a time: XLA compiles a program on one core.
            for running in [pool.submit(run, spec) for spec in sweeps]:
                running.result()
        finally:
            pool.shutdown(cancel_futures=True)
            bar.close()
        with ResultStore(path) as store:
            stored = {canonical_json(point.coordinates): point for point in store.read()}
    gains = [pair.coordinates for spec in sweeps for pair in _pairs(spec)]
    points = [at for spec in sweeps for at in spec.coordinates()]
    return [stored[canonical_json(at)] for at in points], [stored[canonical_json(at)] for at in gains]


def _pairs(spec: NamedSweep) -> Iterable[Pair]:
    best = {"snr_db": max(spec.snr_db), "csi_error_var": min(spec.csi_error_var)}
    places = {(at["scheme"], at["channel"]): at for at in spec.coordinates() if best.items() <= at.items()}
    for link in spec.links:
        for names in _COMPARED:
            pair = [places.get((MASKINGS[name], link.label)) for name in names]
            if None not in pair:
                yield Pair(" minus ".join(at["scheme"] for at in pair), *pair)


def summary(points: Sequence[Point], gains: Sequence[Point]) -> str:
    """PSNR over SNR at the smallest CSI error, and what object first gains, as text."""
    error = min(point.coordinates["csi_error_var"] for point in points)
    rows: dict[str, list[Point]] = {}
    for point in points:
        if point.coordinates["csi_error_var"] == error:
            rows.setdefault(f"{point.coordinates['scheme']}, {point.coordinates['channel']}", []).append(point)
    width = max(len(label) for label in rows)
    snr_db = [point.snr_db for point in next(iter(rows.values()))]
    lines = [
        f"mean PSNR (dB) whole | inside the box, CSI error {error:g}, SNR convention {points[0].snr_convention}",
        " " * width + "".join(f"{value:>11g} dB" for value in snr_db),
    ]
    for label, of_row in rows.items():
        cells = (f"{_cell(point, 'psnr_db'):>7}|{_cell(point, 'psnr_inside_db'):>6}" for point in of_row)
        lines.append(f"{label:<{width}}{''.join(cells)}")
    for point in gains:
        gain = point.metrics.get(f"{PREFIX}psnr_inside_db")
        if gain is not None:
            lines.append(
                f"{point.coordinates['scheme']}, inside the box, {point.coordinates['channel']}, {point.snr_db:g} dB: "
                f"{gain.mean:+.1f} +- {gain.half_width:.1f} dB"
            )
    return "\n".join(lines)


def _cell(point: Point, metric: str) -> str:
    measured = point.metrics.get(metric)
    return "-" if measured is None else f"{measured.mean:.1f}"
