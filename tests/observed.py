"""A transmission of the token system with everything in plain sight, the carrier's own output included."""

import dataclasses
from importlib.metadata import version
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import link as links_room
from lvm_mtc import phy
from lvm_mtc.link import Ledger, LinkConfig, OperatingPoint, Signal, uav_keys
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import all_knobs, encode

# Compiler options under which two programs that do the same sums in the same order give the same bits; jaxlib 0.12
# knows no other emitters than those.
SAME_BITS = (("xla_cpu_use_fusion_emitters", True),) if int(version("jaxlib").split(".")[1]) < 12 else ()


@dataclasses.dataclass(frozen=True, eq=False)
class PerfectCarrier:
    """Hands symbols on as they are, and remembers what was on air."""

    topology: str
    seen: dict = dataclasses.field(default_factory=dict)

    def check(self, link):
        pass

    def draw(self, link, keys, batch, num_slots, total_slots, point):
        return ()

    def send(self, link, slots, draws, point):
        self.seen.update(x=slots.x, active=slots.active, time=slots.index)
        return phy.LinkOutput(slots.x, jnp.ones(slots.x.shape), None, None, None)

    def book(self, link, ledger, num_uavs):
        return ledger


class OnAir(NamedTuple):
    own: jax.Array
    own_gain: jax.Array
    private: jax.Array
    common: jax.Array
    common_gain: jax.Array
    public: jax.Array
    weight: jax.Array
    turns: jax.Array | None
    members: jax.Array | None


class Observed(NamedTuple):
    images_hat: jax.Array
    tokens_own: jax.Array
    tokens_sent: jax.Array
    tokens_received: jax.Array
    ids_keep: jax.Array
    valid: jax.Array
    mask: jax.Array
    overflow: jax.Array
    keep_rate_inside: jax.Array
    keep_rate_outside: jax.Array
    public: jax.Array
    score: jax.Array
    sent: OnAir
    link: phy.LinkOutput
    ledger: Ledger


def point_of(
    snr_db: Any = 10.0, csi_error_var: Any = 0.0, k_factor_db=None, max_doppler=None, **knobs
) -> OperatingPoint:
    """An operating point, knobs beside the other numbers."""
    return OperatingPoint(snr_db, csi_error_var, knobs, k_factor_db, max_doppler)


def with_noise(params: Any, seed: int = 1, deviation: float = 0.1) -> Any:
    """Parameters off their start, each by a number of its own, without a program per shape."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(np.asarray(leaf) + deviation * rng.standard_normal(leaf.shape, np.float32)), params
    )


def observe(
    scheme: LvmMtc,
    params: dict,
    images: jax.Array,
    loc: jax.Array,
    key: jax.Array,
    link: LinkConfig = LinkConfig(),
    point: OperatingPoint = OperatingPoint(),
) -> Observed:
    """``simulate.forward``, step by step; one key, or one per UAV."""
    keys = uav_keys(key, images.shape[1])
    encoded = encode(scheme, params, Source(images, {"loc": loc}), keys, point.knobs)
    draws = links_room.draw(link, keys, images.shape[0], *scheme.frames(), point)
    return transmit(scheme, params, encoded, draws, link, point)


def transmit(
    scheme: LvmMtc, params: dict, encoded: Any, draws: Any, link: LinkConfig, point: OperatingPoint
) -> Observed:
    """``simulate.transmit``, step by step."""
    point = point._replace(knobs=all_knobs(scheme, point.knobs))
    sent = scheme.modulate(params, encoded, point)
    received, output = links_room.send(link, sent.signal, draws, point)
    estimate = scheme.decode(params, received, sent.side, point)
    ledger = links_room.book(link, sent.signal)._replace(side_information_bits=sent.side_bits)
    tells, kept = sent.tells, encoded.kept
    return Observed(
        estimate.data,
        tells["tokens_own"],
        tells["tokens_sent"],
        estimate.tells["tokens"],
        kept.ids_keep,
        kept.valid,
        kept.mask,
        kept.overflow,
        encoded.keep_rate_inside,
        encoded.keep_rate_outside,
        sent.signal.public.sent,
        tells["score"],
        on_air(sent.signal, tells),
        output,
        ledger,
    )


def on_air(signal: Signal, tells: dict) -> OnAir:
    return OnAir(
        signal.private.symbols,
        tells["own_gain"],
        signal.private.sent,
        signal.public.symbols,
        tells["common_gain"],
        signal.public.sent,
        signal.soft,
        signal.turns,
        signal.audience,
    )
