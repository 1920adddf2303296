"""What receivers and links may not depend on: order, scale and coordinates of what arrives, and streams not on air."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvm_mtc import phy

pytestmark = pytest.mark.usefixtures("fast_compile")

BATCH, SLOTS = 5, 4
TALL, WIDE, SMALLER = (4, 3), (2, 3), (4, 2)  # receive antennas, streams
TOLERANCES = {np.complex64: 2e-3, np.complex128: 1e-9}
CASES = [(TALL, np.complex128), (TALL, np.complex64), (WIDE, np.complex128)]
cases = pytest.mark.parametrize(("shape", "dtype"), CASES)
examples = settings(max_examples=25, deadline=None, derandomize=True, database=None)
seeds, streams = st.integers(0, 2**32 - 1), st.integers(0, 2)
masks = st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=BATCH, max_size=BATCH)
noises_db = st.floats(-30, 10)


def receive(given):
    """``x_hat`` and ``no_eff`` of all equalisers and of both links; leading axes are free."""
    no, error_var, active, h_hat = given["no"], given["error_var"], given["active"], given["h_hat"]
    names = [name for name in phy.EQUALIZERS if name != "none" and (name != "zf" or h_hat.shape[-2] >= h_hat.shape[-1])]
    found = {name: phy.EQUALIZERS[name](given["y"], h_hat, no, error_var, active=active) for name in names}
    x, on_air = given["x"], jnp.broadcast_to(active[..., None, :], given["x"].shape)
    for name in names[-2:]:  # robust and the last
        link = phy.joint(
            None, x, no=no, h=given["h"][..., None, :, :], h_hat=h_hat[..., None, :, :], noise=given["noise"],
            h_hat_error_var=error_var[..., None], active=on_air, equalizer=name,
        )  # fmt: skip
        found[f"joint, {name}"] = link.x_hat, link.no_eff
    link = phy.broadcast(
        None, x[..., None, :, :], no=no[..., None], h=given["h"][..., None, None, :, :],
        h_hat=h_hat[..., None, None, :, :], noise=given["noise"][..., None, :, :],
        h_hat_error_var=error_var[..., None, None], active=on_air[..., None, :, :],
    )  # fmt: skip
    return found | {"broadcast": (link.x_hat, link.no_eff)}


compiled = functools.cache(lambda mapped: jax.jit(jax.vmap(receive) if mapped else receive))


def run(given, dtype, mapped=False):
    with jax.enable_x64(dtype == np.complex128):
        return jax.tree.map(np.asarray, compiled(mapped)(given))


def draw(seed, no_db, shape, dtype, active=None):
    rng, real = np.random.default_rng(seed), np.dtype(dtype).type(0).real.dtype
    num_rx_ant, num_tx_ant = shape

    def normal(*size):
        return (rng.normal(size=(BATCH, *size, 2)) @ [1, 1j] / np.sqrt(2)).astype(dtype)

    no = (10 ** (no_db / 10) * rng.uniform(0.5, 2, BATCH)).astype(real)
    h, x, noise = normal(*shape), normal(SLOTS, num_tx_ant), normal(SLOTS, num_rx_ant)
    error_var = rng.uniform(0, 0.3, BATCH).astype(real)
    h_hat = h + np.sqrt(error_var)[:, None, None] * normal(*shape)
    active = np.ones((BATCH, num_tx_ant), bool) if active is None else np.array(active)
    noise *= np.sqrt(no)[:, None, None]
    return dict(no=no, error_var=error_var, h=h, h_hat=h_hat, x=x, noise=noise, y=normal(num_rx_ant), active=active)


def assert_same(ours, theirs, dtype):
    for name, pair in ours.items():
        for one, other in zip(pair, theirs[name], strict=True):
            scale = 1 + np.abs(other).max(initial=0)
            np.testing.assert_allclose(one / scale, other / scale, rtol=0, atol=TOLERANCES[dtype], err_msg=name)


@cases
@examples
@given(seeds, noises_db, masks, st.permutations(range(BATCH)))
def test_permuting_the_batch_permutes_what_is_received(shape, dtype, seed, no_db, active, order):
    before = draw(seed, no_db, shape, dtype, active)
    after = run({name: value[order] for name, value in before.items()}, dtype)
    assert_same(after, jax.tree.map(lambda leaf: leaf[order], run(before, dtype)), dtype)


@cases
@examples
@given(seeds, noises_db, masks, st.floats(0.03, 30))
def test_channel_and_noise_scaled_together_change_nothing(shape, dtype, seed, no_db, active, factor):
    before = draw(seed, no_db, shape, dtype, active)
    powers = dict(h=1, h_hat=1, noise=1, y=1, no=2, error_var=2)
    after = {name: (value * factor ** powers.get(name, 0)).astype(value.dtype) for name, value in before.items()}
    assert_same(run(after, dtype), run(before, dtype), dtype)


@cases
@examples
@given(seeds, noises_db, masks)
def test_a_unitary_rotation_at_the_receiver_changes_nothing(shape, dtype, seed, no_db, active):
    before = draw(seed, no_db, shape, dtype, active)
    square = np.random.default_rng(seed).normal(size=(BATCH, shape[0], shape[0], 2)) @ [1, 1j]
    unitary = np.linalg.qr(square)[0]
    turned = {name: (unitary @ before[name]).astype(dtype) for name in ("h", "h_hat")}
    turned |= {"y": np.einsum("bij,bj->bi", unitary, before["y"]).astype(dtype)}
    turned |= {"noise": np.einsum("bij,bsj->bsi", unitary, before["noise"]).astype(dtype)}
    assert_same(run(before | turned, dtype), run(before, dtype), dtype)


@examples
@given(seeds, noises_db, streams)
def test_without_a_stream_the_receivers_are_those_of_a_smaller_system(seed, no_db, dropped):
    before, kept = draw(seed, no_db, TALL, np.complex128), np.arange(3) != dropped
    small = before | {name: before[name][..., kept] for name in ("h", "h_hat", "x", "active")}
    large = run(before | {"active": np.tile(kept, (BATCH, 1))}, np.complex128)
    large.pop("broadcast")  # whose receiver does not know who is silent
    assert all(
        np.all(x_hat[..., dropped] == 0) and np.all(no_eff[..., dropped] == 1) for x_hat, no_eff in large.values()
    )
    found = run(small, np.complex128)
    assert found["robust"][0].shape == (BATCH, SMALLER[1])
    assert_same(jax.tree.map(lambda leaf: leaf[..., kept], large), found, np.complex128)


@cases
@examples
@given(seeds, noises_db, masks, st.floats(-100, 100))
def test_what_a_silent_stream_would_have_sent_is_nothing_to_anyone(shape, dtype, seed, no_db, active, value):
    before = draw(seed, no_db, shape, dtype, active)
    other = np.where(before["active"][:, None], before["x"], np.asarray(value, dtype))
    jax.tree.map(np.testing.assert_array_equal, run(before | {"x": other}, dtype), run(before, dtype))


@cases
@examples
@given(seeds, noises_db, masks)
def test_a_batch_axis_is_what_vmap_makes_of_one(shape, dtype, seed, no_db, active):
    before = draw(seed, no_db, shape, dtype, active)
    assert_same(run(before, dtype), run(before, dtype, mapped=True), dtype)
