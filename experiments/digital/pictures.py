"""Pictures by stages: codebooks beside their distortion, rate and distortion, and what arrives over a link."""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.file_codecs import file_psnr
from experiments.psnr import psnr_db
from lvm_mtc import link as links_room
from lvm_mtc.data.packing import PackedPictures
from lvm_mtc.link import Frames, LinkConfig, OperatingPoint, Signal
from lvm_mtc.models.vector_quantizer import index_entropy
from lvm_mtc.schemes.linear.scheme import Linear, LinearConfig
from lvm_mtc.schemes.loading import PROGRESSIVE_WEIGHTS, load_scheme
from lvm_mtc.schemes.progressive import packets
from lvm_mtc.schemes.progressive.packets import Packet
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.separation.modulation_coding import SeparationScheme, bytes_of
from lvm_mtc.schemes.simulate import forward
from lvm_mtc.sweep.separation import run_separation

SIZE = 96
USES = 2304
SNR_DB = (0.0, 2.5, 5.0, 7.5, 10.0, 12.5, 15.0)
FILLED_BY = (1, 2, 3, 4, 5, 6, 7, 8, 10, 11)
"""Levels of protection of a stage: so many of its packets fill the symbols."""
REPEATS = {"awgn": 1, "rayleigh": 2}
"""Channels of each picture."""
TRIALS = 500
"""Packets of each level at each SNR, by whose losses plans are chosen."""
SELECTION = 8


def crops(pictures: np.ndarray) -> np.ndarray:
    """The middle of square pictures, ``[num, 96, 96, 3]`` float32 in [0, 1]."""
    begin = (pictures.shape[1] - SIZE) // 2
    return np.float32(pictures[:, begin : begin + SIZE, begin : begin + SIZE]) / 255


def spread(packed: PackedPictures, count: int, part: int = 0) -> np.ndarray:
    """Crops of ``count`` of every other picture of the hold-out, evenly over it; ``part`` 0 and 1 share none."""
    held = packed.holdout_pictures[part::2]
    return crops(held[:: max(1, len(held) // count)][:count])


class Codec:
    """The shipped codec, compiled."""

    def __init__(self):
        self.scheme, self.params = load_scheme(PROGRESSIVE_WEIGHTS)
        self._compress, self._expand = (jax.jit(getattr(self.scheme, name)) for name in ("compress", "expand"))

    def compress(self, images: np.ndarray) -> np.ndarray:
        """Indices, ``[num, T, num_patches]``."""
        return np.asarray(self._compress(self.params, images))

    def expand(self, indices: np.ndarray, num_stages: np.ndarray) -> np.ndarray:
        """Pictures from the first stages of each."""
        return np.asarray(self._expand(self.params, indices, np.asarray(num_stages)))

    def levels(self, images: np.ndarray) -> np.ndarray:
        """PSNR of each picture after 1 ... T stages, ``[T, num]``, dB."""
        indices, count = self.compress(images), self.scheme.config.num_stages
        return np.stack([psnr_db(self.expand(indices, np.full(len(images), t)), images) for t in range(1, count + 1)])


def measure_codec(packed: PackedPictures, num_pictures: int) -> dict[str, Any]:
    """Codebooks over the whole hold-out, and PSNR over bits."""
    codec, held, images = Codec(), crops(packed.holdout_pictures), spread(packed, num_pictures)
    config, params = codec.scheme.config, codec.params
    indices, books = codec.compress(held), np.asarray(codec.scheme.books(params))
    features = np.asarray(jax.jit(codec.scheme.analyse)(params, held)).reshape(len(held), -1, config.num_features)
    rows, power = [], float((features - features.mean((0, 1))).var(axis=(0, 1)).sum())
    for stage, book in enumerate(books):
        features = features - book[indices[:, stage]]
        left = float((features**2).sum(-1).mean())
        rows.append(dict(entropy=index_entropy(indices[:, stage], config.codebook_size),
                         used=len(np.unique(indices[:, stage])), sqnr_db=10 * np.log10(power / left)))  # fmt: skip
    levels = codec.levels(images)
    budgets = [config.stage_bits * t for t in range(1, config.num_stages + 1)]
    return dict(books=rows, num_books_pictures=len(held), codebook_size=config.codebook_size, bits=budgets,
                pixels=SIZE**2, psnr_db=levels.mean(1).tolist(), worst_step=float(np.diff(levels, axis=0).min()),
                num_pictures=len(images))  # fmt: skip


def measure_files(packed: PackedPictures, num_pictures: int, codecs: Sequence[str]) -> dict[str, Any]:
    """What codecs of files make of the same pictures at the same bits, headers free, at the best of all settings."""
    config, images = Codec().scheme.config, bytes_of(spread(packed, num_pictures))
    budgets = [config.stage_bits * t for t in range(1, config.num_stages + 1)]
    return {name: file_psnr(images, name, budgets, all_settings=True) for name in codecs}


def fill(num_stages: int, stage_bits: int, num_symbols: int) -> Packet:
    """Some stages in one packet that fills the symbols, as far as a rate of 1/5 or more does."""
    needed = (num_stages * stage_bits + 24) / num_symbols
    bits_per_symbol = next(bits for bits in (2, 4, 6) if needed <= (0.75 if bits < 6 else 0.95) * bits)
    for rate in np.arange(max(1 / 5, needed / bits_per_symbol), 0.95, 0.001):
        packet = packets.make_packet(num_stages, stage_bits, bits_per_symbol, float(rate))
        if packet.num_symbols <= num_symbols:
            return packet
    raise ValueError(f"{num_stages} stages do not fit into {num_symbols} symbols")


def over(link: LinkConfig, plan: Sequence[Packet], bits: np.ndarray, key: jax.Array, snr_db: float) -> packets.Arrived:
    """Sends the bits of pictures; each has ``USES`` symbols of the link, what is left of them is filled."""
    symbols = packets.send_packets(bits, plan)
    symbols = np.pad(symbols, [(0, 0), (0, USES - symbols.shape[1])], constant_values=1).reshape(len(bits), 1, -1, 4)
    received = _send(link, symbols, key, np.float32(snr_db))
    return packets.receive_packets(*(np.asarray(a).reshape(len(bits), -1) for a in received), plan)


@functools.partial(jax.jit, static_argnums=0)
def _send(link, symbols, key, snr_db):
    signal = Signal(Frames(symbols, jnp.ones(symbols.shape[:-1], bool)))
    draws = links_room.draw(link, key[None], len(symbols), *symbols.shape[2:])
    return links_room.send(link, signal, draws, OperatingPoint(snr_db=snr_db))[0]


@functools.partial(jax.jit, static_argnums=(0, 4))
def _forward(scheme, params, images, key, link, snr_db):
    point = OperatingPoint(snr_db=snr_db)
    return forward(scheme, params, Source(images[:, None]), key, link, point).estimate.data[:, 0]


def success(link: LinkConfig, packet: Packet, key: jax.Array, count: int) -> np.ndarray:
    """Share of packets of random bits that arrive at each SNR."""
    bits = np.random.default_rng(1).integers(0, 2, (count, packet.num_bits), np.uint8)
    return np.array([np.mean(over(link, (packet,), bits, key, snr_db).num_stages > 0) for snr_db in SNR_DB])


def staircases(
    arrive: np.ndarray, uses: np.ndarray, levels: np.ndarray, *, together: bool
) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """All plans of stages that fit into the symbols and do not become stronger, and the PSNR to expect of each.

    Args:
        arrive: Share of the packets of each level that arrive at each SNR, ``[num_levels, num_snrs]``.
        uses: Symbols of a packet of each level, strongest first.
        levels: PSNR with nothing and after each stage, ``[T + 1]``.
        together: Whether packets of a picture share their channel, so that the weakest decides; else each has luck of
            its own.

    Returns:
        plans: The level of each stage.
        psnr_db: ``[num_plans, num_snrs]``.
    """
    plans, expected = [], []
    for count in range(1, len(levels)):
        for plan in itertools.combinations_with_replacement(range(len(uses)), count):
            if uses[list(plan)].sum() <= USES:
                of_plan = arrive[list(plan)]
                prefix = np.minimum.accumulate(of_plan) if together else np.cumprod(of_plan, axis=0)
                plans.append(plan)
                expected.append(levels[0] + np.diff(levels)[:count] @ prefix)
    return plans, np.array(expected)


def measure_pictures(packed: PackedPictures, link: LinkConfig, count: int, seed: int) -> dict[str, Any]:
    """PSNR of the same pictures over the same channels at the same number of symbols, scheme by scheme."""
    codec, images, repeats = Codec(), spread(packed, count), REPEATS[link.fading]
    config, key = codec.scheme.config, jax.random.key(seed + 11)
    tiled, mean_picture = np.concatenate([images] * repeats), crops(packed.pictures).mean(0)
    source = Source(jnp.asarray(tiled[:, None]))
    bits = np.asarray(codec.scheme.encode(codec.params, source, jax.random.key(0), {}))[:, 0]
    shown = np.concatenate([psnr_db(np.broadcast_to(mean_picture, tiled.shape), tiled)[None],
                            np.tile(codec.levels(images), repeats)])  # fmt: skip
    levels = shown.mean(1)

    def row(psnr: Sequence[np.ndarray], *plans: Sequence[Packet]) -> dict[str, Any]:
        """Mean over everything, half width of its 95 % interval over pictures, and what packets cost."""
        psnr = np.asarray(psnr).reshape(len(SNR_DB), repeats, -1).mean(1)
        return dict(
            psnr_db=psnr.mean(1).tolist(), half_width=(1.96 * psnr.std(1, ddof=1) / psnr.shape[1] ** 0.5).tolist(),
            packets=[[(one.num_stages, one.bits_per_symbol, one.blocks.k / one.blocks.n) for one in plan]
                     for plan in plans],
            ledgers=[packets.book(plan)._asdict() for plan in plans],
        )  # fmt: skip

    def digital(*plans: Sequence[Packet]) -> dict[str, Any]:
        """Of one plan, or one for each SNR."""
        of_snr = zip(plans if len(plans) > 1 else plans * len(SNR_DB), SNR_DB, strict=True)
        stages = [over(link, plan, bits, key, snr_db).num_stages for plan, snr_db in of_snr]
        return row([np.take_along_axis(shown, count[None], 0)[0] for count in stages], *plans)

    def whole(scheme, params) -> dict[str, Any]:
        sent = [_forward(scheme, params, tiled, jax.random.clone(key), link, np.float32(snr_db)) for snr_db in SNR_DB]
        return row([psnr_db(np.asarray(one), tiled) for one in sent])

    curves = {f"{t} stages, one packet": digital([fill(t, config.stage_bits, USES)])
              for t in range(1, config.num_stages + 1)}  # fmt: skip
    envelope = np.max([one["psnr_db"] for one in curves.values()], axis=0)
    made = [fill(1, config.stage_bits, USES // count) for count in FILLED_BY]
    arrive = np.stack([success(link, packet, jax.random.key(seed + 12), TRIALS) for packet in made])
    uses = np.array([packet.num_symbols for packet in made])
    plans, expected = staircases(arrive, uses, levels, together=not link.is_awgn)
    curves["staircase"] = digital([made[level] for level in plans[expected.mean(1).argmax()]])
    curves["staircase, told the SNR"] = digital(*([made[level] for level in plans[i]] for i in expected.argmax(0)))
    linear = Linear(LinearConfig(image_size=SIZE, num_symbols=USES // config.num_patches))
    curves["uncoded"] = whole(codec.scheme, codec.params)
    curves["analogue"] = whole(linear, linear.fit(packed.pictures, seed))
    curves["WebP"] = row(_file_codec(packed, link, images, mean_picture, seed))
    return dict(snr_db=SNR_DB, uses=USES, num_pictures=len(images), repeats=repeats, levels=levels.tolist(),
                curves=curves, envelope=envelope.tolist())  # fmt: skip


def _file_codec(packed: PackedPictures, link: LinkConfig, images: np.ndarray, mean_picture: np.ndarray, seed: int):
    """PSNR of the separation baseline, ``[num_snrs, repeats, num_pictures]``."""
    scheme = SeparationScheme(name="WebP", codec="webp", num_slots=USES, bits_per_symbol=(2, 4, 6))
    lead = (len(images), 1)
    found = run_separation(
        scheme, images.reshape(*lead, *images.shape[1:]), np.full((*lead, 4), SIZE / 2, np.float32),
        jax.random.key(seed + 13), link, selection_images=spread(packed, SELECTION, part=1)[:, None],
        mean_picture=mean_picture, snr_db=SNR_DB, num_realisations=REPEATS[link.fading],
    )  # fmt: skip
    return found.metrics["psnr_db"][..., 0].swapaxes(0, 1)
