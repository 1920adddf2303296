"""What a UAV can understand from its mask and the booked bits alone, worked out in plain Python."""

import dataclasses
import itertools
import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import LinkConfig, OperatingPoint, System, SystemConfig
from lvm_mtc.evaluation import programs
from lvm_mtc.models.masking import keep_bernoulli, keep_budget
from lvm_mtc.system import Encoded, transmission

pytestmark = pytest.mark.usefixtures("fast_compile")

B, K, N, L, C, D = 2, 3, 16, 10, 6, 8
CONFIG = SystemConfig(
    variant="tiny", image_size=32, patch_size=8, num_symbols=C, num_kept=L, receiver="shrunk", power_allocation=False
)
LINKS = {
    "broadcast": LinkConfig(num_rx_ant=4, num_tx_ant=4),
    "joint": LinkConfig(topology="joint", num_rx_ant=K, num_tx_ant=K),
    "mu_mimo": LinkConfig(topology="mu_mimo", num_rx_ant=1, num_tx_ant=K),
}


def group(masking, seed=0):
    """Random tokens of random patches, and a channel encoder that copies numbers."""
    scores = jax.random.logistic(jax.random.key(seed), (B, K, N)) + 1.0
    kept = (keep_budget if masking == "budget" else keep_bernoulli)(scores, L)
    tokens = jax.random.normal(jax.random.key(seed + 1), (B, K, L, D))
    kernel = jax.random.normal(jax.random.key(seed + 2), (D, 2 * C))
    layer = {"linear": {"kernel": kernel, "bias": jnp.zeros(2 * C)}}
    rate = jnp.ones((B, K))
    return Encoded(tokens, tokens, kept, rate, rate), {"channel_encoder": layer, "public_encoder": layer}


def through_a_perfect_channel(monkeypatch, system, params, encoded, link, epsilon):
    """Received symbols, and what was on the air: {(uav, time): symbols of the antennas} for each group."""
    seen = {}

    def perfect(keys, x, link, point, *, active, slot_index, **rest):
        seen.update(x=np.asarray(x), active=np.asarray(active), time=np.asarray(slot_index))
        return SimpleNamespace(x_hat=x, no_eff=jnp.ones(x.shape))

    monkeypatch.setattr(transmission, "send_slots", perfect)
    sharing = system.share(encoded, OperatingPoint(epsilon=epsilon))
    sent = system.send(params, encoded, sharing)
    received, _, _ = transmission.receive_symbols(sent, jax.random.split(jax.random.key(0), K), link, OperatingPoint())
    return sharing, sent, np.asarray(received), seen


def bits_of(alignment, sharing, kept, b):
    """The sharing map as the base station writes it: a string of 0 and 1."""
    public, order = np.asarray(sharing.public[b]), np.asarray(sharing.order[b])
    if alignment == "position":
        patches = np.asarray(kept.ids_keep[b, 0])[order[0]][public]
        return "".join("01"[p in patches] for p in range(N))
    flags = "".join("01"[int(p)] for p in public)
    if alignment == "index":
        return flags
    width = math.ceil(math.log2(L))
    return flags + "".join(format(order[k, i], f"0{width}b") for k in range(K) for i in np.flatnonzero(public))


def understood(alignment, bits, my_patches, k):
    """Public and private tokens of UAV k, by their place among its kept patches, in the order of their slots."""
    if alignment == "index":
        public = [i for i in range(L) if bits[i] == "1"]
    elif alignment == "position":
        public = [my_patches.index(p) for p in range(N) if bits[p] == "1"]
    else:
        count, width = bits[:L].count("1"), math.ceil(math.log2(L))
        numbers = [int(bits[L + width * i : L + width * (i + 1)], 2) for i in range(count * K)]
        public = numbers[k * count : (k + 1) * count]
    return public, [i for i in range(len(my_patches)) if i not in public]


@pytest.mark.parametrize("alignment", ["index", "sorted", "position"])
@pytest.mark.parametrize("topology, masking", [("broadcast", "budget"), *((name, "bernoulli") for name in LINKS)])
def test_each_uav_finds_every_token_with_the_booked_bits_and_the_ledger_counts_them(
    monkeypatch, alignment, masking, topology
):
    link = LINKS[topology]
    system = System(dataclasses.replace(CONFIG, masking=masking, alignment=alignment))
    encoded, params = group(masking)
    epsilon = {"index": 0.6, "sorted": 0.1, "position": 0.6}[alignment]
    sharing, sent, received, seen = through_a_perfect_channel(monkeypatch, system, params, encoded, link, epsilon)
    assert 0 < sharing.public.sum() < sharing.public.size
    ledger = system._ledger(sent, link, OperatingPoint(epsilon=epsilon))
    streams = transmission.streams_per_public(link, K)
    pad = -C % streams
    for b in range(B):
        patches = [np.asarray(encoded.kept.ids_keep[b, k])[np.asarray(encoded.kept.valid[b, k])].tolist()
                   for k in range(K)]
        bits = bits_of(alignment, sharing, encoded.kept, b)
        public, private = zip(*(understood(alignment, bits, patches[k], k) for k in range(K)), strict=True)
        uses, spent = 0, 0
        for k, i in itertools.product(range(K), range(L)):
            if i in public[k]:
                tokens = np.asarray(encoded.tokens[b])
                token = np.mean([tokens[m, public[m][public[k].index(i)]] for m in range(K)], axis=0)
                gain, uses = sent.common_gain[b], uses + (C + pad) / K
            elif i in private[k]:
                token, gain = np.asarray(encoded.tokens[b, k, i]), sent.own_gain[b, k]
                uses += C + (pad if topology == "broadcast" else 0)
            else:
                continue
            features = token @ np.asarray(params["channel_encoder"]["linear"]["kernel"]) * float(gain)
            slot = np.flatnonzero(np.asarray(sharing.order[b, k]) == i).item()
            np.testing.assert_allclose(received[b, k, slot], features[0::2] + 1j * features[1::2], atol=1e-5)
            row = i if alignment == "index" else (public[k] + private[k]).index(i)
            found = on_air(topology, seen, b, k, public[k], private, i, row, streams)
            np.testing.assert_allclose(found, features[0::2] + 1j * features[1::2], atol=1e-5)
            spent += 1
        assert spent == sum(map(len, patches))
        assert ledger.channel_uses()[b] == pytest.approx(uses)
        assert ledger.side_information_bits[b] == K * N + len(bits)


def on_air(topology, seen, b, k, public, private, i, row, streams):
    """Reads a token where UAV k expects it: public tokens first, then its private ones, by their number alone."""
    if i in public:
        per_token = -(-C // streams)
        start = public.index(i) * per_token
    else:
        if topology == "broadcast":
            before = sum(map(len, private[:k]))
            per_token = -(-C // streams)
            start = (len(public) + before + private[k].index(i)) * per_token
        else:
            per_token, start = C, len(public) * -(-C // streams) + private[k].index(i) * C
    if topology == "broadcast":
        x, active, time = (seen[name][b, k] for name in ("x", "active", "time"))
    else:
        x, active, time = (seen[name][b] for name in ("x", "active", "time"))
    on = active.any(-1)
    slots = np.stack([x[on & (time == t)][0] for t in range(start, start + per_token)])
    if topology == "mu_mimo" or (topology == "joint" and i not in public):
        return slots[:, k]
    return np.array([slots[c // streams, (c + row) % streams] for c in range(C)])


def test_by_position_only_patches_that_every_uav_keeps_are_shared():
    encoded, _ = group("bernoulli")
    system = System(dataclasses.replace(CONFIG, masking="bernoulli", alignment="position"))
    sharing = system.share(encoded, OperatingPoint(epsilon=1e9))
    kept = np.asarray(encoded.kept.mask) == 0
    for b in range(B):
        everywhere = np.flatnonzero(kept[b].all(0))
        assert 0 < len(everywhere) < L
        assert sharing.public[b].sum() == len(everywhere)
        for k in range(K):
            assert sorted(np.asarray(sharing.order[b, k])) == list(range(L))
            slots = np.asarray(sharing.order[b, k])[np.asarray(sharing.public[b])]
            np.testing.assert_array_equal(np.asarray(encoded.kept.ids_keep[b, k])[slots], everywhere)


def test_a_mask_that_keeps_everything_makes_position_and_index_the_same():
    config = dataclasses.replace(CONFIG, num_kept=N)
    scores = jax.random.logistic(jax.random.key(0), (B, K, N))
    tokens, rate = jax.random.normal(jax.random.key(1), (B, K, N, D)), jnp.ones((B, K))
    encoded = Encoded(tokens, tokens, keep_budget(scores, N), rate, rate)
    by_index, by_position = (
        System(dataclasses.replace(config, alignment=name)).share(encoded, OperatingPoint(epsilon=0.5))
        for name in ("index", "position")
    )
    assert 0 < by_index.public.sum() < by_index.public.size
    for a, b in zip(by_index, by_position, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_error_of_symbols_compares_them_in_the_order_in_which_they_are_sent():
    encoded, _ = group("budget")
    config = dataclasses.replace(CONFIG, alignment="position")
    shapes = jax.eval_shape(System(config).init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)  # what the decoder makes of it is not asked
    params["channel_encoder"] = params["public_encoder"] = {"linear": {
        "kernel": jax.random.normal(jax.random.key(3), (64, 2 * C)), "bias": jnp.zeros(2 * C)}}  # fmt: skip
    encoded = encoded._replace(tokens=jax.random.normal(jax.random.key(4), (B, K, L, 64)))
    link = LinkConfig(fading="awgn", num_rx_ant=2, num_tx_ant=2)
    draws = programs.draw(programs.DrawShape((link,), B, K, ((L, C),)), jax.random.key(5), np.zeros(1, np.uint32))
    one = np.zeros(1, np.int32)
    items = programs.Items(np.float32([60.0]), np.float32([0.0]), np.float32([0.6]), one, one)
    program = programs.SendProgram(system=System(config), links=(link,), metrics=("nmse_symbols",))
    images, boxes = jnp.zeros((B, K, 32, 32, 3)), jnp.ones((B, K, 4))
    found = programs.send(program, params, encoded, images, boxes, draws, items)
    assert 0 < found.public_share.mean() < 0.6
    bound = 1e-6 * (1 + 5 / np.sqrt(L * C))  # the noise's variance over 60 complex symbols of a UAV
    assert (np.asarray(found.metrics["nmse_symbols"]) < bound).all()
