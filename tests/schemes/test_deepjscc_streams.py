"""DeepJSCC on streams by importance: which group goes where, what is booked, what the loss asks for."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.link import LinkConfig, OperatingPoint, Received
from lvm_mtc.link.ranked import RankedStreams
from lvm_mtc.schemes.deepjscc.streams import (
    DeepJsccStreams,
    StreamsConfig,
    by_importance,
    stream_quality,
    streams_loss,
)
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward

pytestmark = pytest.mark.usefixtures("fast_compile")


def scheme_of(order, streams=3):
    return DeepJsccStreams(StreamsConfig(image_size=8, num_symbols=6, num_streams=streams, order=order))


@pytest.mark.parametrize("streams", [2, 3])
def test_every_group_has_its_stream_and_comes_back(streams):
    scheme, rng = scheme_of("sorted", streams), np.random.default_rng(0)
    group = np.arange(6) // (6 // streams)
    symbols = np.complex64(rng.normal(size=(2, 2, 4, 6)) + 10j * group)
    order = np.stack([rng.permutation(streams) for _ in range(4)]).reshape(2, 2, streams)
    placed = scheme._place(jnp.asarray(symbols), jnp.asarray(order))
    slots = np.asarray(phy.tokens_to_slots(placed, streams)).reshape(2, 2, -1, streams)
    np.testing.assert_array_equal(np.round(slots.imag / 10), np.broadcast_to(order[:, :, None], slots.shape))
    back = scheme.in_groups(Received(placed, placed.real), jnp.asarray(order))
    np.testing.assert_array_equal(back.symbols, symbols)
    np.testing.assert_array_equal(back.no_eff, symbols.real)


@pytest.mark.parametrize("streams", range(2, 6))
def test_sorting_is_the_best_of_all_orders(streams):
    rng = np.random.default_rng(streams)
    bits, errors = rng.exponential(size=(50, streams)), np.sort(rng.exponential(size=(50, streams)))
    costs = [np.sum(bits[:, list(order)] * errors, axis=-1) for order in itertools.permutations(range(streams))]
    chosen = np.sum(np.take_along_axis(bits, np.asarray(by_importance(jnp.asarray(bits))), -1) * errors, axis=-1)
    np.testing.assert_allclose(chosen, np.min(costs, axis=0), rtol=1e-6)
    assert np.mean(chosen < np.mean(costs, axis=0)) == 1


def test_quality_is_of_the_mean_error():
    no_eff = np.random.default_rng(0).exponential(size=(2, 4, 6))
    error = (no_eff / (1 + no_eff)).reshape(2, 4, 3, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(stream_quality(jnp.asarray(no_eff), 3), -np.log(error), rtol=1e-5)


@pytest.mark.slow
def test_what_is_booked_and_what_the_loss_asks_for():
    """A gain, an order of three groups and one of three streams, fed back; the tau of sorted groups is positive."""
    scheme, link = scheme_of("sorted"), LinkConfig(num_rx_ant=3, num_tx_ant=3, carrier=RankedStreams())
    params = scheme.init(jax.random.key(0))
    rng = np.random.default_rng(1)
    source = Source(np.float32(rng.uniform(size=(8, 1, 8, 8, 3))), {"labels": rng.integers(0, 10, (8, 1))})
    weights = {"image_loss": "log_mse", "task_weight": 0.1, "rate_weight": 0.01, "order_weight": 0.1}
    at = OperatingPoint(snr_db=jnp.float32(10.0))

    @jax.jit
    def run(params, key):
        loss = jax.value_and_grad(streams_loss, argnums=1, has_aux=True)
        outcome = forward(scheme, params, source, jax.random.clone(key), link, at)
        return loss(scheme, params, source, key, link, at, weights), outcome.ledger

    ((loss, told), slopes), ledger = run(params, jax.random.key(2))
    assert np.all(np.asarray(ledger.side_information_bits) == 16 + 3 + 3)
    assert np.all(np.asarray(ledger.private_uses) == 4 * 6)
    assert 0 < told["tau"] <= 1 and told["bits"] > 0 and np.isfinite(loss)
    for group in slopes.values():
        assert sum(float(jnp.sum(jnp.abs(leaf))) for leaf in jax.tree.leaves(group)) > 0
    start = DeepJsccStreams(StreamsConfig()).start
    shipped = jax.eval_shape(DeepJsccStreams(StreamsConfig()).init, jax.random.key(0))
    read = start(shipped, None, 0)
    assert isinstance(read["encoder"]["down0"]["kernel"], np.ndarray) and read["prior"] is shipped["prior"]
    assert start(shipped, None, 0, weights="") is shipped


def test_what_it_refuses():
    with pytest.raises(ValueError, match="num_symbols 16 must be a multiple of num_streams 3"):
        StreamsConfig(num_streams=3)
    with pytest.raises(ValueError, match="order"):
        StreamsConfig(order="best")
    with pytest.raises(ValueError, match="num_streams"):
        StreamsConfig(num_streams=1)
