"""Split learning: clients hold the front of a network, a server the back, and arrays cross a link between them.

Two functions meet at a border of arrays: up goes what was received, down goes the loss's derivative by it. The channel
belongs to the front: a client follows the derivative back through the channel that its symbols met, which a real one
would know as far as its CSI goes.

Source: Gupta and Raskar, Distributed learning of deep neural network over multiple agents (2018).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import link as links_room
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.schemes.scheme import Scheme, Source
from lvm_mtc.schemes.simulate import all_knobs, encode

PyTree = Any
NUMBER_BITS = 32


class Traffic(NamedTuple):
    """What crossed a border, scalars; numbers of adapters and gradients go beside the link, without errors.

    Attributes:
        symbols: Complex symbols of activations that were sent up, pilots and the like included.
        side_bits: Side information of them.
        gradient_numbers: Real numbers that came down as derivatives.
        adapter_bits: Of parameters, up and down.
    """

    symbols: Any = 0.0
    side_bits: Any = 0.0
    gradient_numbers: Any = 0.0
    adapter_bits: Any = 0.0

    def plus(self, other: "Traffic") -> "Traffic":
        """The sums."""
        return Traffic(*(a + b for a, b in zip(self, other, strict=True)))


class Split(NamedTuple):
    """A network in two parts.

    Attributes:
        front: Pure, of (a client's parameters, batch, key) to what crosses the border, any pytree of arrays, and
            :class:`Traffic`.
        back: Pure, of (the server's parameters, what crossed, batch) to the loss, a scalar, and what is logged.
    """

    front: Callable[[PyTree, PyTree, jax.Array], tuple[PyTree, Traffic]]
    back: Callable[[PyTree, PyTree, PyTree], tuple[jax.Array, dict[str, jax.Array]]]

    def up(self, params: PyTree, batch: PyTree, key: jax.Array) -> tuple[PyTree, Traffic]:
        """The client's pass: what crosses the border, and what it costs with the derivatives that will come down."""
        crossing, traffic = self.front(params, batch, key)
        numbers = sum(2 * leaf.size if jnp.iscomplexobj(leaf) else leaf.size for leaf in _smooth(crossing)[0])
        return crossing, traffic._replace(gradient_numbers=jnp.float32(numbers))

    def serve(self, params: PyTree, crossing: PyTree, batch: PyTree):
        """The server's pass: ((loss, what is logged), derivatives by its parameters, derivatives by what crossed).

        The last are a list, one for each floating-point or complex array that crossed.
        """
        smooth, rebuild = _smooth(crossing)

        def loss(params, smooth):
            return self.back(params, rebuild(smooth), batch)

        told, (by_params, by_crossing) = jax.value_and_grad(loss, (0, 1), has_aux=True)(params, smooth)
        return told, by_params, by_crossing

    def down(self, params: PyTree, batch: PyTree, key: jax.Array, by_crossing: list[jax.Array]) -> PyTree:
        """The client's way back: derivatives by its parameters. Its pass is computed again, so it keeps nothing."""
        _, pull = jax.vjp(lambda params: _smooth(self.front(params, batch, key)[0])[0], params)
        return pull(by_crossing)[0]


def _smooth(tree: PyTree) -> tuple[list[jax.Array], Callable[[list[jax.Array]], PyTree]]:
    """Arrays that have derivatives, and a function that puts others in their places."""
    leaves, structure = jax.tree.flatten(tree)
    where = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)]

    def rebuild(smooth):
        new = dict(zip(where, smooth, strict=True))
        return jax.tree.unflatten(structure, [new.get(i, leaf) for i, leaf in enumerate(leaves)])

    return [leaves[i] for i in where], rebuild


def split_scheme(
    scheme: Scheme,
    link: LinkConfig,
    point: OperatingPoint,
    loss: Callable[[Any, Source], tuple[jax.Array, dict[str, jax.Array]]],
    *,
    front: Callable[[PyTree], PyTree] = lambda params: params,
    back: Callable[[PyTree], PyTree] = lambda params: params,
) -> Split:
    """Any scheme, split at the link: its encoder and modulator with each client, its decoder with the server.

    Args:
        link: The uplink of a client, which has its own channel for each item of a batch.
        loss: Of (estimate of a scheme, source).
        front: A client's parameters to those that the scheme's ``encode`` and ``modulate`` take, ``Lora.merge`` say.
        back: The server's to those of ``decode``.
    """
    point = point._replace(knobs=all_knobs(scheme, point.knobs))

    def transmitter(params, source, key):
        batch, num_uavs = source.lead()
        keys = links_room.uav_keys(key, num_uavs)
        sent = scheme.modulate(front(params), encode(scheme, front(params), source, keys, point.knobs), point)
        draws = links_room.draw(link, keys, batch, *scheme.frames(), point)
        received, _ = links_room.send(link, sent.signal, draws, point)
        ledger = links_room.book(link, sent.signal)
        return (received, sent.side), Traffic(ledger.channel_uses().sum(), sent.side_bits.sum(), 0.0, 0.0)

    def receiver(params, crossing, source):
        return loss(scheme.decode(back(params), *crossing, point), source)

    return Split(transmitter, receiver)


def over_the_air(by_crossing: list[jax.Array], snr_db: float, key: jax.Array) -> list[jax.Array]:
    """Derivatives that go down as analogue symbols: each array in unit power, noise of the SNR, back in its scale."""
    noisy = []
    for number, gradient in enumerate(by_crossing):
        power = jnp.mean(jnp.abs(gradient) ** 2)
        noise = jax.random.normal(jax.random.fold_in(key, number), gradient.shape, gradient.dtype)
        noisy.append(gradient + jnp.sqrt(power * 10 ** (-snr_db / 10)) * noise)
    return noisy


def bits_of(params: PyTree) -> int:
    """Bits of all numbers of some parameters, 32 each."""
    return NUMBER_BITS * sum(int(np.prod(np.shape(leaf))) for leaf in jax.tree.leaves(params))
