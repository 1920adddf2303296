r"""What context gains a vector quantiser of fixed length: PSNR in pairs, codebooks, times beside an arithmetic coder.

    python -m experiments.context_vq.measure --weights build/context_vq --out docs/context_vq

Measures the codecs of ``experiments.context_vq.fit`` on the hold-out, writes ``results.json`` into ``--out`` and the
tables into the page beside it; ``--page-only`` writes tables again. ``--parts`` measures some alone, and the others
stay: ``rates`` the linear codecs, ``networks`` the trained ones, ``progressive`` the times of the shipped codec by
stages, ``files`` codecs of files, which needs the extra ``heic``.
"""

import dataclasses
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.context_vq.fit import NAMES, TRAINED
from experiments.context_vq.page import tables
from experiments.file_codecs import file_psnr
from experiments.psnr import psnr_db
from experiments.script import PAGE_ONLY, script, study
from lvm_mtc.data.arithmetic import Interval, Reader
from lvm_mtc.data.packing import load_packed
from lvm_mtc.data.resizing import center_crop
from lvm_mtc.models import context_transform
from lvm_mtc.models.vector_quantizer import index_bits, index_entropy
from lvm_mtc.results.intervals import paired_difference
from lvm_mtc.schemes.loading import CONTEXT_VQ_WEIGHTS, PROGRESSIVE_WEIGHTS, load_scheme
from lvm_mtc.schemes.progressive.context import ContextVq

_BATCH = 32
_TOTAL = 2**20
_CODED = 16


def in_batches(function: Callable, images: np.ndarray) -> list[np.ndarray]:
    """What a compiled function of pictures gives, batch by batch, joined; the last batch is filled up."""
    padded = np.concatenate([images, images[: -len(images) % _BATCH]])
    parts = [jax.device_get(function(padded[i : i + _BATCH])) for i in range(0, len(padded), _BATCH)]
    return [np.concatenate(of_part)[: len(images)] for of_part in zip(*parts, strict=True)]


def run(scheme: ContextVq, params: dict, images: np.ndarray) -> dict[str, Any]:
    """PSNR of each picture, and of each codebook entropy, codes used and what its group's features keep."""
    c, codes = scheme.config, [book["codes"] for book in scheme.books(params)]

    @jax.jit
    def through(batch):
        features = scheme.analyse(params, batch)
        indices, y_hat = context_transform.compress(scheme.rules(params), codes, c.slices, features)
        return indices, features, y_hat, scheme.expand(params, indices)

    indices, features, y_hat, shown = in_batches(through, images)
    colour, books = context_transform.colours(*features.shape[1:3])[0, ..., 0], []
    for group in range(len(codes)):
        here, part = colour == group % 2, context_transform.channels(c.slices, group)
        own, wanted, told = indices[:, group // 2][:, here], features[:, here, part], y_hat[:, here, part]
        power, left = np.mean(wanted**2), np.mean((wanted - told) ** 2)
        books.append(dict(entropy=index_entropy(own, c.codebook_size), used=len(np.unique(own)),
                          sqnr_db=float(10 * np.log10(power / left))))  # fmt: skip
    return dict(psnr_db=psnr_db(shown, images), books=books, indices=indices)


def progressive_psnr(images: np.ndarray, stages: Sequence[int]) -> list[np.ndarray]:
    """PSNR of each picture, ``[num]``, of the shipped codec by stages, for some numbers of them."""
    scheme, params = load_scheme(PROGRESSIVE_WEIGHTS)

    @jax.jit
    def through(batch, count):
        return (scheme.expand(params, scheme.compress(params, batch), jnp.full(len(batch), count)),)

    return [psnr_db(in_batches(functools.partial(through, count=count), images)[0], images) for count in stages]


def code(indices: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Bits of indices ``[n]`` that are coded one after the other by limits of shares ``[n, K + 1]``, and read back."""
    interval = Interval()
    for index, limit in zip(indices, limits, strict=True):
        interval.add(int(limit[index]), int(limit[index + 1]), int(limit[-1]))
    bits = interval.shortest()
    reader = Reader(bits)
    return bits, [reader.next(limit) for limit in limits]


def limits_of(books: Sequence[Mapping[str, Any]], rows: int, columns: int) -> np.ndarray:
    """Limits of every index of a picture by how often the fit used each code, ``[S rows columns, K + 1]`` int64."""
    limits = limits_of_use([book["log_use"] for book in books])
    colour = context_transform.colours(rows, columns)[0, ..., 0]
    return np.stack([limits[2 * s + colour] for s in range(len(limits) // 2)]).reshape(-1, limits.shape[1])


def limits_of_use(log_use: Any) -> np.ndarray:
    """Limits of whole numbers between codes that are used as ``log_use [..., K]`` says, ``[..., K + 1]`` int64."""
    use = np.exp(np.float64(log_use))
    steps = 1 + np.int64(_TOTAL * use / use.sum(-1, keepdims=True))
    return np.concatenate([np.zeros((*use.shape[:-1], 1), np.int64), np.cumsum(steps, axis=-1)], axis=-1)


def seconds(function: Callable, *args: Any, repeats: int) -> float:
    """Median time of a call; the first one is left out."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(function(*args))
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def times(scheme: ContextVq, params: dict, image: np.ndarray, repeats: int) -> dict[str, float]:
    """Milliseconds that transform and quantiser of a picture take each way."""
    compress, expand = (jax.jit(getattr(scheme, name)) for name in ("compress", "expand"))
    encode = seconds(compress, params, image[None], repeats=repeats)
    decode = seconds(expand, params, compress(params, image[None]), repeats=repeats)
    return dict(encode_ms=1e3 * encode, decode_ms=1e3 * decode)


def coder_ms(scheme: ContextVq, params: dict, image: np.ndarray, repeats: int) -> float:
    """Milliseconds that the indices of a picture take through the coder, both ways."""
    indices = np.asarray(jax.jit(scheme.compress)(params, image[None]))
    limits = limits_of(scheme.books(params), *indices.shape[2:])
    return 1e3 * seconds(code, np.ravel(indices), limits, repeats=repeats)


def progressive_times(image: np.ndarray, repeats: int) -> list[dict[str, float]]:
    """As :func:`times` of the shipped codec by stages: the first one, four, and all eight."""
    scheme, params = load_scheme(PROGRESSIVE_WEIGHTS)
    compress, expand = jax.jit(scheme.compress), jax.jit(scheme.expand)
    every, rows = compress(params, image[None]), []
    encode = seconds(compress, params, image[None], repeats=repeats)
    for count in (1, 4, scheme.config.num_stages):
        indices = np.asarray(every)[0, :count]
        limits = np.repeat(limits_of_use(params["books"]["log_use"][:count]), indices.shape[1], axis=0)
        bits, told = code(indices.ravel(), limits)
        assert told == indices.ravel().tolist()
        coder = seconds(code, indices.ravel(), limits, repeats=repeats)
        decode = seconds(expand, params, every, np.full(1, count), repeats=repeats)
        rows.append(dict(stages=count, bits=count * scheme.config.stage_bits, coded_bits=len(bits),
                         encode_ms=1e3 * encode, decode_ms=1e3 * decode, coder_ms=1e3 * coder))  # fmt: skip
    return rows


PARTS = ("rates", "networks", "progressive", "files")


def middles(held: np.ndarray, size: int) -> np.ndarray:
    """The middle of each picture ``[num, height, width, 3]`` uint8, float32 in [0, 1]."""
    return np.float32([center_crop(picture, size) for picture in held]) / 255


def measure(data: Path, weights: Path, most: int, repeats: int, parts: Sequence[str]) -> dict[str, Any]:
    """Parts of the study as plain values for JSON."""
    held = load_packed(data).holdout_pictures[:most]
    found = measure_rates(held, weights, repeats) if "rates" in parts else {}
    if "networks" in parts:
        found["networks"] = measure_networks(held, weights, repeats)
    if "progressive" in parts:
        size = load_scheme(PROGRESSIVE_WEIGHTS)[0].config.image_size
        found["progressive"] = progressive_times(middles(held[:1], size)[0], repeats)
    if "files" in parts:
        found["files"] = measure_files(held)
    return found


def measure_files(held: np.ndarray) -> dict[str, Any]:
    """What codecs of files make of the same pictures at the bits of each rate, headers free."""
    config = load_scheme(CONTEXT_VQ_WEIGHTS)[0].config
    budgets = [dataclasses.replace(config, codebook_size=size).num_bits for size in config.codebook_sizes]
    pictures = [center_crop(picture, config.image_size) for picture in held]
    return {name: file_psnr(pictures, name, budgets, all_settings=False) for name in ("webp", "avif", "heic")}


class Rate(NamedTuple):
    """Both codecs at a size of codebooks, what :func:`run` finds of them, and the plain values that are kept of it."""

    schemes: Mapping[str, ContextVq]
    found: Mapping[str, Mapping[str, Any]]
    values: dict[str, Any]


def at_rates(loaded: Mapping[str, tuple[ContextVq, dict]], images: np.ndarray, repeats: int) -> Iterator[Rate]:
    """With context and without at every rate: PSNR, what context gains, codebooks and times."""
    for size in loaded["plain"][0].config.codebook_sizes:
        schemes = {
            name: dataclasses.replace(scheme, config=dataclasses.replace(scheme.config, codebook_size=size))
            for name, (scheme, _) in loaded.items()
        }
        found = {name: run(scheme, loaded[name][1], images) for name, scheme in schemes.items()}
        gain = paired_difference(found["context_vq"]["psnr_db"], found["plain"]["psnr_db"])
        bits = schemes["plain"].config.num_bits
        assert {of["indices"][0].size * index_bits(size) for of in found.values()} == {bits}
        yield Rate(schemes, found, dict(
            codebook_size=size, bits=bits, gain=[float(gain.mean), float(gain.half_width)],
            **{name: dict(psnr_db=float(of["psnr_db"].mean()), books=of["books"]) for name, of in found.items()},
            times={name: times(scheme, loaded[name][1], images[0], repeats) for name, scheme in schemes.items()},
        ))  # fmt: skip


def measure_rates(held: np.ndarray, weights: Path, repeats: int) -> dict[str, Any]:
    """The linear codecs on pictures ``[num, height, width, 3]`` uint8, with an arithmetic coder beside them."""
    loaded = {name: load_scheme(weights / f"{name}.npz") for name in NAMES}
    size, params = loaded["plain"][0].config.image_size, loaded["plain"][1]
    images, rates = middles(held, size), []
    for schemes, found, values in at_rates(loaded, images, repeats):
        indices = found["plain"]["indices"]
        limits = limits_of(schemes["plain"].books(params), *indices.shape[2:])
        coded = [len(code(np.ravel(picture), limits)[0]) for picture in indices[:_CODED]]
        for name, of in values["times"].items():
            of["coder_ms"] = coder_ms(schemes[name], loaded[name][1], images[0], repeats)
        rates.append(values | {"plain_coded_bits": float(np.mean(coded))})
    by_stages = progressive_psnr(images, [values["bits"] // 1152 for values in rates])
    for values, of_stages in zip(rates, by_stages, strict=True):
        values["progressive_psnr_db"] = float(of_stages.mean())
    weights_bytes = (weights / "context_vq.npz").stat().st_size
    return dict(rates=rates, num_pictures=len(images), pixels=size**2, weights_bytes=weights_bytes)


def measure_networks(held: np.ndarray, weights: Path, repeats: int) -> list[dict[str, Any]]:
    """The codecs with networks, and how far they are ahead of the codec by stages at the same bits."""
    loaded = {name: load_scheme(weights / f"{file}.npz") for file, name in TRAINED.items()}
    images, rates = middles(held, loaded["plain"][0].config.image_size), []
    for _, found, values in at_rates(loaded, images, repeats):
        (others,) = progressive_psnr(images, [values["bits"] // 1152])
        ahead = paired_difference(found["context_vq"]["psnr_db"], others)
        told = {"ahead": [float(ahead.mean), float(ahead.half_width)], "progressive_psnr_db": float(others.mean())}
        rates.append(values | told)
    return rates


@script(
    data="packed pictures", weights="folder of experiments.context_vq.fit", out="folder of the study",
    page_only=PAGE_ONLY, most="pictures of the hold-out at most", repeats="of what is timed",
    parts={"choices": PARTS, "help": "what is measured; the rest stays"},
)  # fmt: skip
def main(
    data: Path = Path("build/pictures_160.npz"), weights: Path = Path("build/context_vq"),
    out: Path = Path("docs/context_vq"), page_only: bool = False, most: int = 128, repeats: int = 20,
    parts: tuple[str, ...] = PARTS,
) -> None:  # fmt: skip
    """Measure what context gains."""

    def merged() -> dict[str, Any]:
        new, file = measure(data, weights, most, repeats, parts), out / "results.json"
        return (json.loads(file.read_text()) if file.exists() else {}) | new

    study(out, page_only, merged, tables)


if __name__ == "__main__":
    sys.exit(main())
