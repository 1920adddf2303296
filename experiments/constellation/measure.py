r"""Square QAM against learned constellations, on the symbols of two trained codecs and on symbols of known law.

    python -m experiments.constellation.measure --data ../shared/data
    python -m experiments.constellation.measure --page-only

About ten minutes on one core. Writes ``docs/constellation/results.json``, its figures and the tables of
``docs/constellation.md``. The codecs stay as they are; each constellation is fitted to their symbols on other pictures
than those that are sent.
"""

import functools
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.constellation.page import draw, tables
from experiments.script import DATA, PAGE_ONLY, script, study
from lvm_mtc import LinkConfig, OperatingPoint, Source, forward, zoo
from lvm_mtc.data.cifar10 import load_cifar10_sheets
from lvm_mtc.data.images import list_images, load_image
from lvm_mtc.data.resizing import center_crop
from lvm_mtc.phy.constellation import mutual_information
from lvm_mtc.results.intervals import student_interval
from lvm_mtc.schemes.loading import DEMO_WEIGHTS, load_scheme
from lvm_mtc.schemes.scheme import Params, Scheme
from lvm_mtc.training.constellation import Symbols, fit_book, fit_constellation, sdr_db

CONVENTION = "rx_per_antenna"
LINKS = {name: LinkConfig(fading=name, convention=CONVENTION) for name in ("awgn", "rayleigh")}
SNR_DB = {"token codec": (0.0, 5.0, 10.0, 15.0, 20.0), "token2": (1.0, 4.0, 7.0, 10.0, 13.0)}
"""Where each codec was trained."""
FITTED = {"qam 16": (16, "qam"), "learned 16": (16, "learned"), "qam 64": (64, "qam"), "learned 64": (64, "learned"),
          "clustered 16": (16, "clustered"), "clustered 64": (64, "clustered"), "qam 256": (256, "qam")}  # fmt: skip
ANALOG = "analog"
LABELS = (ANALOG, *FITTED)
SIZES = (16, 64)
"""Points of which there are both kinds."""
LAWS = ("laplace", "gauss", "uniform")
SYNTHETIC = ((16, 10.0), (16, 20.0), (64, 15.0), (64, 20.0))
"""Points and SNR in dB at which symbols of known law are sent."""
PARTS = ("laws", "codecs")
_NUM_SYMBOLS = 100_000
_SENT_AT_ONCE = 60
_CROPS = 5


def pictures_of(data: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Codec to pictures that constellations are fitted to, and those that are sent, uint8.

    The token codec's are photographs of VOC, and five crops of each Kodak picture, one behind the other.
    """
    voc = [center_crop(load_image(path), 96) for path in list_images(data / "voc2012_320" / "JPEGImages", limit=200)]
    kodak = [crop for path in list_images(data / "kodak") for crop in _crops(load_image(path))]
    cifar = load_cifar10_sheets(data / "cifar10").pictures
    return {"token codec": (np.stack(voc), np.stack(kodak)), "token2": (cifar[:400], cifar[-120:])}


def _crops(picture: np.ndarray, size: int = 96) -> list[np.ndarray]:
    half = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2].astype(np.float32)
    half = (half[::2, ::2] + half[1::2, ::2] + half[::2, 1::2] + half[1::2, 1::2]) / 4
    rows, columns = half.shape[0] - size, half.shape[1] - size
    places = ((0, 0), (0, columns), (rows // 2, columns // 2), (rows, 0), (rows, columns))
    return [np.uint8(half[top : top + size, left : left + size] + 0.5) for top, left in places]


def codecs() -> dict[str, tuple[Scheme, Params]]:
    """The codec of the demo with every patch kept, and token2 of the zoo."""
    scheme, params = load_scheme(DEMO_WEIGHTS)
    whole = scheme.with_budget(scheme.patches()[1], scale_aware=False)
    return {"token codec": (whole, params), "token2": zoo.load_codec("token2_cifar10_cbr_1_3")}


def as_source(pictures: np.ndarray) -> Source:
    """Pictures for one UAV each, the box in the middle."""
    side = pictures.shape[1]
    box = np.float32([side / 2, side / 2, side / 2, side / 2])
    return Source(jnp.asarray(np.float32(pictures[:, None]) / 255), {"loc": jnp.tile(box, (len(pictures), 1, 1))})


@functools.partial(jax.jit, static_argnames=("scheme", "link"))
def _psnr(scheme, params, source, key, link, snr_db):
    shown = jnp.clip(
        forward(scheme, params, source, key, LINKS[link], OperatingPoint(snr_db=snr_db)).estimate.data, 0, 1
    )
    return -10 * jnp.log10(jnp.mean((shown - source.data) ** 2, axis=(1, 2, 3, 4)))


def send(scheme: Scheme, params: Params, pictures: np.ndarray, link: str, snr_db: float) -> np.ndarray:
    """PSNR of each picture, dB, the same channels and noise for every scheme of the same frames."""
    chunks = [as_source(pictures[start : start + _SENT_AT_ONCE]) for start in range(0, len(pictures), _SENT_AT_ONCE)]
    values = [_psnr(scheme, params, chunk, jax.random.key(n), link, snr_db) for n, chunk in enumerate(chunks)]
    return np.float64(np.concatenate(values))


def measure_codec(
    name: str, codec: tuple[Scheme, Params], pictures: tuple[np.ndarray, np.ndarray], labels: Sequence[str],
    before: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Levels and paired gains of a codec over the named constellations; books as they were fitted.

    Of those that are left out, what was there ``before``; gains are measured where both kinds are.
    """
    scheme, params = codec
    to_fit, to_send = pictures
    group, snrs_db = _CROPS if name == "token codec" else 1, SNR_DB[name]
    contenders, books = {ANALOG: (scheme, params)} if ANALOG in labels else {}, {}
    for label, (count, kind) in ((label, FITTED[label]) for label in labels if label in FITTED):
        contenders[label] = over = fit_constellation(
            scheme, params, as_source(to_fit), (snrs_db[0], snrs_db[-1]), jax.random.key(0), num_points=count, kind=kind
        )
        books[label] = about_book(over[1]["book"])
        print(name, label, flush=True)
    psnr = {
        (label, link, snr_db): send(*contender, to_send, link, snr_db).reshape(-1, group).mean(1)
        for label, contender in contenders.items()
        for link in LINKS
        for snr_db in snrs_db
    }

    def over_snr(value):
        return {link: [with_half_width(value(link, snr_db)) for snr_db in snrs_db] for link in LINKS}

    levels = {label: over_snr(lambda *at, label=label: psnr[label, *at]) for label in contenders}
    gains = {
        str(count): over_snr(lambda *at, count=count: psnr[f"learned {count}", *at] - psnr[f"qam {count}", *at])
        for count in SIZES
        if {f"learned {count}", f"qam {count}"} <= contenders.keys()
    }
    found = {"levels": levels, "gains": gains, "books": books}
    merged = {part: dict(before.get(part, {})) | of for part, of in found.items()}
    order = (ANALOG, *FITTED, *map(str, SIZES))
    return {"snr_db": list(snrs_db)} | {part: {n: of[n] for n in order if n in of} for part, of in merged.items()}


def about_book(book: Mapping[str, jax.Array]) -> dict[str, Any]:
    """Points at power 1 with how often each is used, the entropy of that in bits, and the largest power of a point."""
    use = np.exp(np.float64(book["log_use"]))
    use /= use.sum()
    points = np.float64(book["points"])
    points /= np.sqrt(use @ np.sum(points**2, -1))
    return {
        "points": points.round(4).tolist(), "use": use.round(6).tolist(),
        "entropy_bits": round(float(-use @ np.log2(use)), 3),
        "peak_db": round(float(10 * np.log10(np.sum(points**2, -1).max())), 2),
    }  # fmt: skip


def measure_laws() -> list[dict[str, Any]]:
    """SDR of symbols of known law with scaled QAM and with what was learned, on symbols that were not learned from."""
    rows = []
    for law in LAWS:
        learned_from, test = (draw_symbols(law, seed) for seed in range(2))
        for count, snr_db in SYNTHETIC:
            no = jnp.full(_NUM_SYMBOLS, 10 ** (-snr_db / 10), jnp.float32)
            row = {"law": law, "points": count, "snr_db": snr_db}
            for kind in ("qam", "learned"):
                book = fit_book(Symbols(learned_from, no), count, kind, jax.random.key(0))
                about = about_book(book)
                row[kind] = round(float(sdr_db(book, Symbols(test, no), jax.random.key(1))), 3)
                points = np.array(about["points"]) @ [1, 1j]
                row[f"{kind}_bits"] = round(float(mutual_information(points, about["use"], 10 ** (snr_db / 10))), 3)
            rows.append(row)
            print(row, flush=True)
    return rows


def draw_symbols(law: str, seed: int) -> jax.Array:
    """Independent real and imaginary parts, power 1 together."""
    rng = np.random.default_rng(seed)
    draws = {
        "laplace": lambda: rng.laplace(size=(_NUM_SYMBOLS, 2)) / 2,
        "gauss": lambda: rng.normal(size=(_NUM_SYMBOLS, 2)) / np.sqrt(2),
        "uniform": lambda: (rng.random((_NUM_SYMBOLS, 2)) - 0.5) * np.sqrt(6),
    }
    return jnp.asarray((draws[law]() @ [1, 1j]).astype(np.complex64))


def measure_all(
    data: Path, parts: tuple[str, ...], labels: tuple[str, ...], before: Mapping[str, Any]
) -> dict[str, Any]:
    """What ``results.json`` holds; of the parts that are left out, what it held ``before``."""
    pictures = pictures_of(data) if "codecs" in parts else {}
    measured = {
        "laws": measure_laws,
        "codecs": lambda: {
            name: measure_codec(name, codec, pictures[name], labels, before.get("codecs", {}).get(name, {}))
            for name, codec in codecs().items()
        },
    }
    results = {part: measured[part]() if part in parts else before[part] for part in measured}
    return {"convention": CONVENTION, "channels": list(LINKS)} | results


def with_half_width(samples: np.ndarray) -> list[float]:
    """Mean and half of its 95 % interval."""
    interval = student_interval(samples)
    return [round(float(interval.mean), 4), round(float(interval.half_width), 4)]


@script(out="folder; the page is beside it", data="folder of pictures", page_only=PAGE_ONLY,
        parts={"choices": PARTS, "help": "what is measured; the rest stays"},
        labels={"choices": LABELS, "help": "constellations behind the codecs; the rest stays"})  # fmt: skip
def main(
    out: Path = Path("docs/constellation"), data: Path = DATA, parts: tuple[str, ...] = PARTS,
    labels: tuple[str, ...] = LABELS, page_only: bool = False,
) -> None:  # fmt: skip
    """Measure QAM and learned constellations."""
    results = out / "results.json"
    before = json.loads(results.read_text()) if results.exists() else {}
    study(out, page_only, lambda: measure_all(data, parts, labels, before), tables, draw)


if __name__ == "__main__":
    sys.exit(main())
