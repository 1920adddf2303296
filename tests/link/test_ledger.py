"""Ledger and timeline against plain Python bookkeeping."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.link.ledger import Ledger, book_frames, book_grid, book_pilots
from lvm_mtc.link.timeline import broadcast_slots, joint_slots
from lvm_mtc.phy import ResourceGrid
from lvm_mtc.schemes.lvm_mtc.side_information import side_information_bits

B, K, L = 5, 3, 6


def decisions(seed=0):
    public = jax.random.bernoulli(jax.random.key(seed), 0.4, (B, L))
    valid = jax.random.bernoulli(jax.random.key(seed + 1), 0.8, (B, K, L)) | public[:, None]
    return valid & ~public[:, None], public


def walk_broadcast(private, public, per_token):
    """Public tokens first, then UAV after UAV; returns each UAV's slots and the length."""
    slots, now = {}, 0
    for i in np.flatnonzero(public):
        for k in range(K):
            slots[k, i] = range(now, now + per_token)
        now += per_token
    for k in range(K):
        for i in np.flatnonzero(private[k]):
            slots[k, i] = range(now, now + per_token)
            now += per_token
    return slots, now


@pytest.mark.parametrize("num_symbols, num_tx_ant", [(8, 4), (6, 4), (5, 1), (3, 4)])
def test_broadcast_books_and_places_every_token_once(num_symbols, num_tx_ant):
    private, public = decisions()
    per_token = -(-num_symbols // num_tx_ant)
    ledger = book_frames(private, public, num_symbols, num_tx_ant, joint=False)
    index = np.asarray(broadcast_slots(private, public, per_token)).reshape(B, K, L, per_token)
    for b in range(B):
        slots, length = walk_broadcast(private[b], public[b], per_token)
        assert ledger.slots[b] == length
        assert ledger.channel_uses()[b] == length * num_tx_ant
        assert ledger.public_uses[b] == public[b].sum() * per_token * num_tx_ant
        for (k, i), want in slots.items():
            np.testing.assert_array_equal(index[b, k, i], list(want))


def test_joint_books_streams_that_send_and_slots_that_are_used():
    private, public = decisions()
    num_symbols, per_public = 4, 2
    ledger = book_frames(private, public, num_symbols, K, joint=True)
    index = np.asarray(joint_slots(private, public, per_public, num_symbols))
    for b in range(B):
        used = np.flatnonzero(private[b].any(0))
        assert ledger.private_uses[b] == private[b].sum() * num_symbols
        assert ledger.public_uses[b] == public[b].sum() * per_public * K
        assert ledger.slots[b] == public[b].sum() * per_public + len(used) * num_symbols
        want = list(range(int(ledger.slots[b])))
        first, second = index[b, : L * per_public].reshape(L, -1), index[b, L * per_public :].reshape(L, -1)
        assert [*first[np.flatnonzero(public[b])].ravel(), *second[used].ravel()] == want


def test_sharing_everything_divides_the_uses_by_the_number_of_uavs():
    public = jnp.ones((1, L), bool)
    none, every = jnp.zeros((1, K, L), bool), jnp.ones((1, K, L), bool)
    shared, unicast = (book_frames(p, q, 8, 4, joint=False) for p, q in ((none, public), (every, ~public)))
    assert unicast.channel_uses()[0] == K * shared.channel_uses()[0]


@pytest.mark.parametrize("joint", [False, True])
def test_every_entry_is_float32_and_a_public_slot_costs_what_it_is_told(joint):
    private, public = decisions()
    ledger = book_frames(private, public, 4, K, joint=joint, uses_per_slot=7)
    assert {entry.dtype for entry in ledger} == {jnp.dtype("float32")} and {entry.shape for entry in ledger} == {(B,)}
    np.testing.assert_array_equal(ledger.public_uses, public.sum(-1) * 2 * 7)
    uses = private.sum((1, 2)) * (4 if joint else 2 * 7)
    np.testing.assert_array_equal(ledger.private_uses, uses)


def test_side_information_by_hand():
    public = jnp.array([[True, True, False, False, False, False], [False] * 6])
    on, off = jnp.array([0.1, 0.1]), jnp.zeros(2)
    common = dict(num_uavs=K, num_patches=9, masked=True, gains=False)
    np.testing.assert_array_equal(side_information_bits(public, off, alignment="index", **common), [27, 27])
    np.testing.assert_array_equal(side_information_bits(public, on, alignment="index", **common), [33, 33])
    # ceil(log2 6) = 3 bits per public token and UAV.
    np.testing.assert_array_equal(side_information_bits(public, on, alignment="sorted", **common), [33 + 2 * 3 * 3, 33])
    np.testing.assert_array_equal(
        side_information_bits(public, on, alignment="index", **(common | dict(gains=True, masked=False))),
        [6 + 16 * 4, 6 + 16 * 3],
    )
    alone = dict(num_uavs=1, num_patches=9, masked=True, gains=False)
    np.testing.assert_array_equal(side_information_bits(public * False, on, alignment="sorted", **alone), [9, 9])


def test_pilots_are_counted_once_per_block():
    zero = jnp.zeros(3)
    ledger = Ledger(zero, zero, zero, zero, zero, zero, jnp.array([0.0, 12.0, 13.0]))
    np.testing.assert_array_equal(book_pilots(ledger, 4, 4, None).pilot_uses, [16, 16, 16])
    np.testing.assert_array_equal(book_pilots(ledger, 4, 2, 10).pilot_uses, [0, 2 * 8, 3 * 8])  # 6 data slots a block
    np.testing.assert_array_equal(book_pilots(ledger, 0, 4, 10).pilot_uses, 0)


def test_a_grid_costs_every_sample_of_every_antenna():
    grid = ResourceGrid(
        fft_size=16, num_ofdm_symbols=5, cyclic_prefix_length=4, pilot_symbols=(1,), guard_carriers=(2, 1), dc_null=True
    )
    num_tx_ant, data, one = 3, 4 * 12, jnp.ones(3)
    slots = jnp.array([0.0, data, data + 1])
    ledger = book_grid(Ledger(2 * slots, slots, 0 * one, 0 * one, 0 * one, 0 * one, slots), grid, num_tx_ant)
    grids = np.array([0, 1, 2])
    np.testing.assert_array_equal(ledger.channel_uses(), grids * num_tx_ant * 5 * (16 + 4))
    np.testing.assert_array_equal(ledger.pilot_uses, grids * num_tx_ant * 12)
    np.testing.assert_array_equal(ledger.prefix_uses, grids * num_tx_ant * 5 * 4)
    # Guards and DC of five symbols, and 47 data elements of the second grid.
    np.testing.assert_array_equal(ledger.idle_uses, num_tx_ant * (grids * 5 * 4 + np.array([0, 0, 47])))


def test_cells_that_carry_no_data_are_pilots():
    """An embedded pilot keeps cells around it free: 37 of 5 x 12 carry data, the other 23 are booked as pilots."""
    grid = ResourceGrid(fft_size=12, num_ofdm_symbols=5, cyclic_prefix_length=4, pilot_symbols=())
    slots, none = jnp.array([37.0, 38.0]), jnp.zeros(2)
    ledger = book_grid(Ledger(slots, none, none, none, none, none, slots), grid, 1, cells=37)
    grids = np.array([1, 2])
    np.testing.assert_array_equal(ledger.pilot_uses, grids * 23)
    np.testing.assert_array_equal(ledger.idle_uses, [0, 36])
    np.testing.assert_array_equal(ledger.channel_uses(), grids * 5 * (12 + 4))


def test_a_full_grid_without_guards_costs_the_prefix_factor_and_the_pilots():
    grid = ResourceGrid()
    slots, none = jnp.array([2.0 * grid.slots_per_grid]), jnp.zeros(1)
    ledger = book_grid(Ledger(4 * slots, none, none, none, none, none, slots), grid, 4)
    np.testing.assert_allclose(ledger.channel_uses() / ledger.private_uses, 14 / 12 * grid.prefix_factor, rtol=1e-6)
    assert grid.prefix_factor == 1 + 16 / 64


def test_cbr_with_and_without_side_information(monkeypatch):
    one = jnp.ones(1)
    ledger = Ledger(500 * one, 100 * one, 50 * one, 18 * one, 100 * one, 32 * one, one)
    assert ledger.cbr(3072) == pytest.approx(768 / 3072)
    assert ledger.cbr(3072, side_information=True) == pytest.approx(800 / 3072)
    monkeypatch.setattr("lvm_mtc.link.ledger.BITS_PER_USE", 2.0)
    assert ledger.cbr(3072, side_information=True) == pytest.approx(784 / 3072)
