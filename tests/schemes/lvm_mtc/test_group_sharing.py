"""Tokens shared by some of the UAVs: decoded from masks and booked bits alone, and against runs without groups."""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from observed import SAME_BITS, PerfectCarrier, observe, on_air, point_of, with_noise

from lvm_mtc.link import LinkConfig, book, send
from lvm_mtc.link.timeline import broadcast_slots
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.masking import keep_bernoulli, keep_budget
from lvm_mtc.schemes.lvm_mtc.records import Encoded
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.schemes.lvm_mtc.side_information import side_information_bits

pytestmark = pytest.mark.usefixtures("fast_compile")

B, K, N, L, C, D, ANTENNAS = 2, 4, 16, 10, 6, 8, 4
PER_TOKEN = -(-C // ANTENNAS)
CONFIG = LvmMtcConfig(
    variant="tiny", image_size=32, patch_size=8, num_symbols=C, num_kept=L, receiver="shrunk", power_allocation=False,
    groups=True,
)  # fmt: skip
SETS = [s for size in range(2, K + 1) for s in itertools.combinations(range(K), size)]
SET_BITS = math.ceil(math.log2(len(SETS)))


def group(masking):
    """Random tokens of random patches, and a channel encoder that copies numbers."""
    keys = jax.random.split(jax.random.key(0), 3)
    scores = jax.random.logistic(keys[0], (B, K, N)) + 1.0
    kept = (keep_budget if masking == "budget" else keep_bernoulli)(scores, L)
    tokens = jax.random.normal(keys[1], (B, K, L, D))
    layer = {"linear": {"kernel": jax.random.normal(keys[2], (D, 2 * C)), "bias": jnp.zeros(2 * C)}}
    rate = jnp.ones((B, K))
    return Encoded(tokens, tokens, kept, rate, rate), {"channel_encoder": layer, "public_encoder": layer}


def written(alignment, sharing, kept, b):
    """The sharing map as the base station writes it: a string of 0 and 1."""
    public, order, members = (np.asarray(a[b]) for a in (sharing.public, sharing.order, sharing.members))
    slots = np.flatnonzero(public)
    sets = [tuple(np.flatnonzero(members[:, i])) for i in slots]
    flags = "".join("01"[int(p)] for p in public)
    if alignment == "position":
        patches = [int(kept.ids_keep[b, of[0], order[of[0], i]]) for i, of in zip(slots, sets, strict=True)]
        flags = "".join("01"[p in patches] for p in range(N))
    bits = flags + "".join(format(SETS.index(of), f"0{SET_BITS}b") for of in sets)
    if alignment == "sorted":
        width = math.ceil(math.log2(L))
        bits += "".join(format(order[k, i], f"0{width}b") for i, of in zip(slots, sets, strict=True) for k in of)
    return bits


def understood(alignment, bits, my_patches, k):
    """Members of each public token, and UAV k's tokens: {its number: (public token or None, row)}."""
    length = N if alignment == "position" else L
    flagged, bits = [i for i in range(length) if bits[i] == "1"], bits[length:]
    sets = [SETS[int(bits[SET_BITS * r : SET_BITS * (r + 1)], 2)] for r in range(len(flagged))]
    bits, mine = bits[SET_BITS * len(sets) :], {}
    for r, (i, of) in enumerate(zip(flagged, sets, strict=True)):
        width = math.ceil(math.log2(L)) if alignment == "sorted" else 0
        numbers, bits = [bits[width * m : width * (m + 1)] for m in range(len(of))], bits[width * len(of) :]
        if k in of:
            number = {"index": i, "position": my_patches.index(i) if i in my_patches else None}.get(alignment)
            mine[int(numbers[of.index(k)], 2) if width else number] = r
    assert bits == ""
    private = [i for i in range(len(my_patches)) if i not in mine]
    if alignment == "index":
        return sets, {i: (r, i) for i, r in mine.items()} | {i: (None, i) for i in private}
    rows = [row for row in range(L) if row not in mine.values()]
    return sets, {i: (r, r) for i, r in mine.items()} | {i: (None, rows[n]) for n, i in enumerate(private)}


@pytest.mark.parametrize("masking", ["budget", "bernoulli"])
@pytest.mark.parametrize("alignment, epsilon", [("index", 0.3), ("sorted", 0.1), ("position", 0.4)])
def test_each_uav_decodes_the_air_with_the_booked_bits_and_the_ledger_counts_it(alignment, epsilon, masking):
    scheme = LvmMtc(dataclasses.replace(CONFIG, masking=masking, alignment=alignment))
    carrier = PerfectCarrier("broadcast")
    link = LinkConfig(num_rx_ant=ANTENNAS, num_tx_ant=ANTENNAS, carrier=carrier)
    point = point_of(epsilon=epsilon, mask_prob=0.25)

    @jax.jit
    def run(params, encoded):
        sent = scheme.modulate(params, encoded, point)
        received, _ = send(link, sent.signal, (), point)
        ledger = book(link, sent.signal)._replace(side_information_bits=sent.side_bits)
        return scheme.share(encoded, epsilon), on_air(sent.signal, sent.tells), received.symbols, ledger, carrier.seen

    encoded, params = group(masking)
    sharing, sent, received, ledger, seen = jax.device_get(run(params, encoded))
    kernel, tokens = np.asarray(params["channel_encoder"]["linear"]["kernel"]), np.asarray(encoded.tokens)
    sizes = set()
    for b in range(B):
        air = heard(seen, b)
        patches = [
            np.asarray(encoded.kept.ids_keep[b, k])[np.asarray(encoded.kept.valid[b, k])].tolist() for k in range(K)
        ]
        bits = written(alignment, sharing, encoded.kept, b)
        told = [understood(alignment, bits, patches[k], k) for k in range(K)]
        sets = told[0][0]
        sizes |= set(map(len, sets))
        alone = [len(patches[k]) - sum(k in of for of in sets) for k in range(K)]
        for k, (_, mine) in enumerate(told):
            assert sorted(mine) == list(range(len(patches[k])))
            nth = itertools.count(len(sets) + sum(alone[:k]))
            for i, (public, row) in sorted(mine.items()):
                if public is None:
                    token, gain, place = tokens[b, k, i], sent.own_gain[b, k], next(nth)
                else:
                    numbers = {m: next(j for j, (r, _) in told[m][1].items() if r == public) for m in sets[public]}
                    assert k in numbers
                    token = np.mean([tokens[b, m, j] for m, j in numbers.items()], axis=0)
                    gain, place = sent.common_gain[b], public
                features = token @ kernel * float(gain)
                want = features[0::2] + 1j * features[1::2]
                slots = np.stack([air[place * PER_TOKEN + s] for s in range(PER_TOKEN)])
                found = [slots[c // ANTENNAS, (c + row) % ANTENNAS] for c in range(C)]
                np.testing.assert_allclose(found, want, atol=1e-5)
                slot = np.flatnonzero(np.asarray(sharing.order[b, k]) == i).item()
                np.testing.assert_allclose(received[b, k, slot], want, atol=1e-5)
        num_sent = len(sets) + sum(alone)
        assert sorted(air) == list(range(num_sent * PER_TOKEN))
        assert ledger.slots[b] == num_sent * PER_TOKEN
        assert ledger.channel_uses()[b] == num_sent * PER_TOKEN * ANTENNAS
        assert ledger.side_information_bits[b] == K * N + len(bits)
        power = sum(np.sum(np.abs(air[t]) ** 2) for t in range(len(sets) * PER_TOKEN)) / (len(sets) * C)
        np.testing.assert_allclose(power, 1.0, rtol=1e-5)
    assert sizes >= {2, 3}


def heard(seen, b):
    """{time: symbols of the antennas}: what several UAVs hear at a time is one and the same."""
    air = {}
    for k, s in zip(*np.nonzero(seen["active"][b].any(-1)), strict=True):
        heard, now = seen["x"][b, k, s], seen["time"][b, k, s]
        np.testing.assert_allclose(air.setdefault(now, heard), heard, atol=1e-6)
    return air


def test_the_timeline_is_that_of_a_walk_over_the_tokens():
    private = jnp.array([[[1, 0, 0], [1, 0, 1], [0, 1, 1]]], bool)
    public, members = jnp.array([[True, True, False]]), jnp.array([[[0, 1, 1], [0, 1, 0], [1, 0, 1]]], bool)
    members = members.at[0, 1, 0].set(True)
    got = broadcast_slots(private & ~(public[:, None] & members), public, 1, members)
    # Public tokens take slots 0 and 1; then come token 0 of the first UAV, 2 of the second, 1 and 2 of the third.
    np.testing.assert_array_equal(got, [[[2, 1, 0], [0, 1, 3], [0, 4, 5]]])


def test_side_information_by_hand_for_groups():
    public = jnp.array([[True, True, False, False, False, False], [False] * 6])
    members = jnp.zeros((2, 4, 6), bool).at[:, :2].set(True).at[:, 2, 1].set(True)
    common = dict(num_patches=9, masked=True, gains=False)
    bits = functools.partial(side_information_bits, public, jnp.full(2, 0.1), members=members, **common)
    # 11 sets of four UAVs: 4 bits; ceil(log2 6) = 3 bits for each of 2 + 3 members.
    np.testing.assert_array_equal(bits(num_uavs=4, alignment="index"), [36 + 6 + 2 * 4, 36 + 6])
    np.testing.assert_array_equal(bits(num_uavs=4, alignment="position"), [36 + 9 + 2 * 4, 36 + 9])
    np.testing.assert_array_equal(bits(num_uavs=4, alignment="sorted"), [36 + 6 + 2 * 4 + 5 * 3, 36 + 6])
    np.testing.assert_array_equal(bits(num_uavs=2, alignment="index"), [18 + 6, 18 + 6])  # one set only


@functools.cache
def system_and_params(alignment, groups, options=()):
    config = dict(variant="linear", receiver="wiener", power_allocation=True, alignment=alignment, groups=groups)
    scheme = LvmMtc(dataclasses.replace(CONFIG, **config))
    params = with_noise(scheme.init(jax.random.key(0)))
    return jax.jit(functools.partial(observe, scheme), static_argnums=4, compiler_options=dict(options)), params


def related_pictures():
    """Two UAVs see almost the same, a third one something else."""
    first, third = jax.random.uniform(jax.random.key(3), (2, B, 1, 32, 32, 3))
    noise = 0.01 * jax.random.normal(jax.random.key(4), first.shape)
    images = jnp.concatenate([first, first + noise, third], axis=1)
    return images, jnp.broadcast_to(jnp.array([16.0, 16.0, 16.0, 16.0]), (B, 3, 4))


LINK = LinkConfig(num_rx_ant=2, num_tx_ant=2)


@pytest.mark.slow
def test_members_get_what_they_would_get_without_the_others_and_the_others_what_they_would_get_alone():
    images, loc = related_pictures()
    forward, params = system_and_params("index", True)
    plain, _ = system_and_params("index", False)
    point = point_of(snr_db=10.0, csi_error_var=0.02, mask_prob=0.5, epsilon=0.003)
    keys = jax.random.split(jax.random.key(5), 2)[jnp.array([0, 0, 1])]  # equal masks where pictures are
    together = forward(params, images, loc, jax.random.clone(keys), LINK, point)
    two = plain(params, images[:, :2], loc[:, :2], jax.random.clone(keys)[:2], LINK, point)
    alone = plain(params, images[:, 2:], loc[:, 2:], jax.random.clone(keys)[2:], LINK, point)
    public = np.asarray(together.public)
    assert 2 <= public.sum() < public.size
    members = np.moveaxis(np.asarray(together.sent.members), 1, -1)[public]
    np.testing.assert_array_equal(members, [[True, True, False]] * len(members))
    np.testing.assert_array_equal(public, two.public)
    np.testing.assert_allclose(together.images_hat[:, :2], two.images_hat, atol=2e-5)
    np.testing.assert_allclose(together.images_hat[:, 2:], alone.images_hat, atol=2e-5)
    np.testing.assert_allclose(together.tokens_sent[:, :2], two.tokens_sent, atol=2e-5)
    uses = [out.ledger.channel_uses() for out in (together, two, alone)]
    np.testing.assert_array_equal(uses[0], uses[1] + uses[2])
    assert not np.allclose(together.tokens_sent[:, :2], together.tokens_own[:, :2], atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("alignment, epsilon", [("index", 0.1), ("sorted", 0.003), ("position", 0.1)])
def test_for_two_uavs_groups_change_no_number(alignment, epsilon):
    images, loc = (a[:, :2] for a in related_pictures())
    point = point_of(snr_db=10.0, csi_error_var=0.02, mask_prob=0.4, epsilon=epsilon)
    old, new = (
        system_and_params(alignment, groups, SAME_BITS)[0](
            system_and_params(alignment, False, SAME_BITS)[1], images, loc, jax.random.key(6), LINK, point
        )
        for groups in (False, True)
    )
    assert 0 < old.public.sum() < old.public.size and new.sent.members.all()
    new = new._replace(sent=new.sent._replace(members=None))
    for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("topology, streams", [("joint", 3), ("mu_mimo", 3)])
def test_other_topologies_and_too_many_uavs_are_refused(topology, streams):
    images, loc = related_pictures()
    scheme = LvmMtc(dataclasses.replace(CONFIG, variant="linear"))
    params = system_and_params("index", True)[1]
    link = LinkConfig.of(topology=topology, num_rx_ant=1 if topology == "mu_mimo" else streams, num_tx_ant=streams)
    with pytest.raises(ValueError, match=f"LvmMtcConfig.groups. need .*topology 'broadcast', got '{topology}'"):
        jax.eval_shape(lambda: observe(scheme, params, images, loc, jax.random.key(0), link))
    images, loc = (jnp.concatenate([a] * 5, axis=1) for a in (images, loc))
    with pytest.raises(ValueError, match="groups needs num_uavs <= 12, .*; got 15"):
        jax.eval_shape(lambda: observe(scheme, params, images, loc, jax.random.key(0)))
