"""The border of split learning over sockets: arrays as messages, and a server that goes on without lost clients.

A message is its length, eight bytes, and msgpack as ``flax.serialization`` writes it. It says what there is in the
clear, to whoever can connect: for a machine's own loopback or a network that is trusted.
"""

import socket
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from flax import serialization

from lvm_mtc.training.federated import FederatedConfig, average, descend
from lvm_mtc.training.split import PyTree, Split

MAX_BYTES = 2**30
_LENGTH = struct.Struct("<Q")


class PeerLost(ConnectionError):
    """The other side is gone, silent for too long, or says what is no message; one line."""


def send_tree(peer: socket.socket, tree: PyTree) -> int:
    """Sends a pytree of arrays and returns the bytes that it took; :class:`PeerLost` where nobody takes them."""
    data = serialization.msgpack_serialize(serialization.to_state_dict(jax.device_get(tree)))
    try:
        peer.sendall(_LENGTH.pack(len(data)) + data)
    except OSError as error:
        raise PeerLost(f"cannot send: {error}") from error
    return _LENGTH.size + len(data)


def receive_tree(peer: socket.socket) -> Any:
    """The next message: nested dictionaries of arrays; lists and named tuples are dictionaries there.

    Waits as long as the socket's timeout says; :class:`PeerLost` where nothing whole comes.
    """
    (length,) = _LENGTH.unpack(_receive(peer, _LENGTH.size))
    if length > MAX_BYTES:
        raise PeerLost(f"a message of {length} bytes, more than {MAX_BYTES}")
    data = _receive(peer, length)
    try:
        return serialization.msgpack_restore(data)
    except Exception as error:  # whatever the parser stumbles over
        raise PeerLost(f"a message that is no msgpack: {type(error).__name__}") from error


def _receive(peer: socket.socket, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        try:
            part = peer.recv(min(length - len(parts), 2**20))
        except OSError as error:
            raise PeerLost(f"nothing received: {error}") from error
        if not part:
            raise PeerLost(f"closed after {len(parts)} of {length} bytes")
        parts += part
    return bytes(parts)


class ServedRound(NamedTuple):
    """What a server has after a round.

    Attributes:
        front: Average over the clients that ended it, weighted by their examples; the one that went out where none did.
        back: The server's parameters.
        ended: Names of those clients.
        lost: Why others were lost, by name.
    """

    front: PyTree
    back: PyTree
    ended: tuple[str, ...]
    lost: dict[str, str]


def serve_round(
    peers: Mapping[str, socket.socket], split: Split, config: FederatedConfig, front: PyTree, back: PyTree, like: PyTree
) -> ServedRound:
    """A round of SplitFed V2 with clients that run :func:`join_round`.

    In each step the clients that are there are served in turn. One that is gone, or silent for longer than its socket's
    timeout, is left out of the rest of the round and of the average; what the back has learned from it stays.

    Args:
        like: What crosses the border with a batch, shapes of such, ``(crossing, batch)``: messages are put into it.
    """
    serve = jax.jit(split.serve)
    lost: dict[str, str] = {}
    found: dict[str, Any] = {}

    def alive():
        return [name for name in peers if name not in lost]

    for name in alive():
        _attempt(lost, name, lambda name=name: send_tree(peers[name], front))
    for _ in range(config.local_steps):
        for name in alive():

            def step(name=name):
                nonlocal back
                crossing, batch = _into(like, receive_tree(peers[name]))
                _, by_back, by_crossing = serve(back, crossing, batch)
                send_tree(peers[name], by_crossing)
                back = descend(back, by_back, config.learning_rate)

            _attempt(lost, name, step)
    for name in alive():
        _attempt(lost, name, lambda name=name: found.update({name: receive_tree(peers[name])}))
    ended = tuple(name for name in found if name not in lost)
    if ended:
        fronts = [_into(front, found[name]["front"]) for name in ended]
        front = average(fronts, [float(found[name]["examples"]) for name in ended], config.aggregate)
    return ServedRound(front, back, ended, lost)


def join_round(
    server: socket.socket, split: Split, config: FederatedConfig, like: PyTree, batches: list[PyTree], keys: list[Any],
    examples: int,
) -> PyTree:  # fmt: skip
    """A client's round: its front as it goes up at the end.

    Args:
        like: A front, or shapes of one.
        batches: One for each of ``config.local_steps``, and ``keys`` too.
        examples: How many it has, its weight in the average.
    """
    up, down = jax.jit(split.up), jax.jit(split.down)
    front = _into(like, receive_tree(server))
    for batch, key in zip(batches, keys, strict=True):
        crossing, _ = up(front, batch, jax.random.clone(key))
        send_tree(server, (crossing, batch))
        smooth = receive_tree(server)
        by_crossing = [smooth[str(i)] for i in range(len(smooth))]
        by_front = down(front, batch, jax.random.clone(key), by_crossing)
        front = descend(front, by_front, config.learning_rate, freeze_a=config.aggregate == "freeze_a")
    send_tree(server, {"front": front, "examples": examples})
    return front


def _attempt(lost: dict[str, str], name: str, action: Any) -> None:
    try:
        action()
    except PeerLost as error:
        lost[name] = str(error)


def _into(like: PyTree, message: Any) -> PyTree:
    """A message as the pytree that it was; :class:`PeerLost` where it is another one, in names or shapes."""
    try:
        tree = serialization.from_state_dict(like, message)
        shapes = [[(jax.numpy.shape(leaf)) for leaf in jax.tree.leaves(of)] for of in (tree, like)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PeerLost(f"a message of other arrays: {str(error).splitlines()[0][:200]}") from error
    if shapes[0] != shapes[1]:
        raise PeerLost(f"a message of arrays of other shapes: {shapes[0]} instead of {shapes[1]}")
    return tree
