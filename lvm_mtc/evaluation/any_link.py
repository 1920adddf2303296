"""A system of either kind, tokens or whole pictures, whose link is one of several, chosen by a traced number."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc import phy
from lvm_mtc.evaluation import metrics
from lvm_mtc.system import LinkConfig, PictureCodecSystem, Sent, System
from lvm_mtc.system.transmission import in_turn

AnySystem = System | PictureCodecSystem


class Through(NamedTuple):
    """What any link tells: SNR of its signals and, ``[batch, num_uavs]``, NMSE of its symbols; NaN: not measured."""

    snr: jax.Array
    nmse_symbols: jax.Array


def over_any_link(system: AnySystem) -> AnySystem:
    """The same system, whose ``link`` is a tuple of links and the traced number of the one to take.

    Only what ``receive`` does stands in a program once a link; what comes before and behind is compiled once for all.

    Args:
        system: Of either kind.

    Returns:
        Its ``draws`` are a tuple with those of each link; its output's ``link`` is a :class:`Through`.
    """
    kind = type(system)
    fields = {field.name: getattr(system, field.name) for field in dataclasses.fields(system)}
    return type(f"{kind.__name__}OverAnyLink", (_AnyLink, kind), {})(**fields)


def measures_snr(system: AnySystem, link: LinkConfig) -> bool:
    """Whether every stream is busy in every slot, as the conventions' averages assume, and H is at hand for each."""
    sends_all = isinstance(system, PictureCodecSystem) or system.config.masking == "budget"
    return (link.topology == "broadcast" and link.block_length is None and sends_all
            and system.config.num_symbols % link.num_tx_ant == 0)


class _AnyLink:
    """What a system does otherwise where it has several links; stands in front of its class."""

    def receive(self, params, sent, key, link, point, draws):
        (links, number), receive = link, super().receive

        def receive_over(one, its_draws):
            def branch():
                *received, out = receive(params, sent, key, one, point, its_draws)
                return *received, self._through(sent, one, out)

            return branch

        return _one_of(number, [receive_over(*pair) for pair in zip(links, draws, strict=True)])

    def _ledger(self, sent, link, *point):
        (links, number), book = link, super()._ledger
        return _one_of(number, [functools.partial(book, sent, one, *point) for one in links])

    def _through(self, sent: Sent, link: LinkConfig, out: phy.LinkOutput) -> Through:
        if link.topology != "broadcast":
            return Through(jnp.float32(jnp.nan), jnp.full(sent.own_gain.shape, jnp.nan))
        symbols = in_turn(jnp.where(sent.shared[..., None], sent.common[:, None], sent.own), sent.turns)
        on_air = in_turn(sent.shared | sent.private, sent.turns)[..., None]
        x = phy.tokens_to_slots(jnp.where(on_air, symbols, 0), link.num_tx_ant)
        x = x.reshape(*x.shape[:2], -1, link.num_tx_ant)
        nmse = metrics.nmse(x, jnp.where(x == 0, 0, out.x_hat), axis=(-2, -1))
        snr = _realised_snr(x, link, out) if measures_snr(self, link) else jnp.float32(jnp.nan)
        return Through(snr, nmse)


def _one_of(number: jax.Array, branches):
    return branches[0]() if len(branches) == 1 else jax.lax.switch(number, branches)


def _realised_snr(x: jax.Array, link: LinkConfig, out: phy.LinkOutput) -> jax.Array:
    """SNR of the signals that were really sent, linear, from y - H x."""
    # One H for the whole picture, or on a resource grid one for each slot.
    received = x * out.h if link.is_awgn else jnp.sum(out.h * x[..., None, :], axis=-1)
    return phy.db_to_linear(phy.measure_snr_db(x, received, out.y, convention=link.convention))
