"""What a UAV can understand from its mask and the booked bits alone, worked out in plain Python."""

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from observed import PerfectCarrier, on_air, point_of

from lvm_mtc.link import LinkConfig, book, send, transmission
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.masking import keep_bernoulli, keep_budget
from lvm_mtc.schemes.lvm_mtc.records import Encoded
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.sweep import programs

pytestmark = pytest.mark.usefixtures("fast_compile")

B, K, N, L, C, D = 2, 3, 16, 10, 6, 8
CONFIG = LvmMtcConfig(
    variant="tiny", image_size=32, patch_size=8, num_symbols=C, num_kept=L, receiver="shrunk", power_allocation=False
)
LINKS = {"broadcast": (4, 4), "joint": (K, K), "mu_mimo": (1, K)}  # antennas


def group(masking, seed=0):
    """Random tokens of random patches, and a channel encoder that copies numbers."""
    scores = jax.random.logistic(jax.random.key(seed), (B, K, N)) + 1.0
    kept = (keep_budget if masking == "budget" else keep_bernoulli)(scores, L)
    tokens = jax.random.normal(jax.random.key(seed + 1), (B, K, L, D))
    kernel = jax.random.normal(jax.random.key(seed + 2), (D, 2 * C))
    layer = {"linear": {"kernel": kernel, "bias": jnp.zeros(2 * C)}}
    rate = jnp.ones((B, K))
    return Encoded(tokens, tokens, kept, rate, rate), {"channel_encoder": layer, "public_encoder": layer}


def through_a_perfect_channel(scheme, params, encoded, link, epsilon):
    """Sharing, what was sent, received symbols, what was on the air by UAV and time, and what it cost."""
    point = point_of(epsilon=epsilon, mask_prob=0.25)
    sent = scheme.modulate(params, encoded, point)
    received, _ = send(link, sent.signal, (), point)
    ledger = book(link, sent.signal)._replace(side_information_bits=sent.side_bits)
    seen = {name: np.asarray(value) for name, value in link.carrier.seen.items()}
    sharing = scheme.share(encoded, epsilon)
    return sharing, on_air(sent.signal, sent.tells), np.asarray(received.symbols), seen, ledger


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


@pytest.mark.slow
@pytest.mark.parametrize("alignment", ["index", "sorted", "position"])
@pytest.mark.parametrize("topology, masking", [("broadcast", "budget"), *((name, "bernoulli") for name in LINKS)])
def test_each_uav_finds_every_token_with_the_booked_bits_and_the_ledger_counts_them(alignment, masking, topology):
    num_rx_ant, num_tx_ant = LINKS[topology]
    link = LinkConfig(num_rx_ant=num_rx_ant, num_tx_ant=num_tx_ant, carrier=PerfectCarrier(topology))
    scheme = LvmMtc(dataclasses.replace(CONFIG, masking=masking, alignment=alignment))
    encoded, params = group(masking)
    epsilon = {"index": 0.6, "sorted": 0.1, "position": 0.6}[alignment]
    sharing, sent, received, seen, ledger = through_a_perfect_channel(scheme, params, encoded, link, epsilon)
    assert 0 < sharing.public.sum() < sharing.public.size
    streams = transmission.streams_per_public(link, K)
    pad = -C % streams
    for b in range(B):
        patches = [
            np.asarray(encoded.kept.ids_keep[b, k])[np.asarray(encoded.kept.valid[b, k])].tolist() for k in range(K)
        ]
        bits = bits_of(alignment, sharing, encoded.kept, b)
        public, private = zip(*(understood(alignment, bits, patches[k], k) for k in range(K)), strict=True)
        uses, spent = 0, 0
        for k, i in itertools.product(range(K), range(L)):
            if i in public[k]:
                tokens = np.asarray(encoded.tokens[b])
                token = np.mean([tokens[m, public[m][public[k].index(i)]] for m in range(K)], axis=0)
                gain = sent.common_gain[b]
                # The common beam of the precoded downlink takes the power of all K streams for one symbol.
                uses += C if topology == "mu_mimo" else (C + pad) / K
            elif i in private[k]:
                token, gain = np.asarray(encoded.tokens[b, k, i]), sent.own_gain[b, k]
                uses += C + (pad if topology == "broadcast" else 0)
            else:
                continue
            features = token @ np.asarray(params["channel_encoder"]["linear"]["kernel"]) * float(gain)
            slot = np.flatnonzero(np.asarray(sharing.order[b, k]) == i).item()
            np.testing.assert_allclose(received[b, k, slot], features[0::2] + 1j * features[1::2], atol=1e-5)
            row = i if alignment == "index" else (public[k] + private[k]).index(i)
            found = read_air(topology, seen, b, k, public[k], private, i, row, streams)
            np.testing.assert_allclose(found, features[0::2] + 1j * features[1::2], atol=1e-5)
            spent += 1
        assert spent == sum(map(len, patches))
        assert ledger.channel_uses()[b] == pytest.approx(uses)
        assert ledger.side_information_bits[b] == K * N + len(bits)


def read_air(topology, seen, b, k, public, private, i, row, streams):
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
    scheme = LvmMtc(dataclasses.replace(CONFIG, masking="bernoulli", alignment="position"))
    sharing = scheme.share(encoded, 1e9)
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
        LvmMtc(dataclasses.replace(config, alignment=name)).share(encoded, 0.5) for name in ("index", "position")
    )
    assert 0 < by_index.public.sum() < by_index.public.size
    for a, b in zip(by_index, by_position, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_error_of_symbols_compares_them_in_the_order_in_which_they_are_sent():
    encoded, _ = group("budget")
    config = dataclasses.replace(CONFIG, alignment="position")
    shapes = jax.eval_shape(LvmMtc(config).init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)  # what the decoder makes of it is not asked
    params["channel_encoder"] = params["public_encoder"] = {"linear": {
        "kernel": jax.random.normal(jax.random.key(3), (64, 2 * C)), "bias": jnp.zeros(2 * C)}}  # fmt: skip
    encoded = encoded._replace(tokens=jax.random.normal(jax.random.key(4), (B, K, L, 64)))
    link = LinkConfig(fading="awgn", num_rx_ant=2, num_tx_ant=2)
    draws = programs.draw(programs.DrawShape((link,), B, K, ((L, C),)), jax.random.key(5), np.zeros(1, np.uint32))
    knobs = {"epsilon": np.float32([0.6]), "mask_prob": np.float32([0.25])}
    first = np.zeros(1, np.int32)
    items = programs.Items(np.float32([60.0]), np.float32([0.0]), knobs, first, first)
    program = programs.SendProgram(scheme=LvmMtc(config), links=(link,), metrics=("nmse_symbols",))
    source = Source(jnp.zeros((B, K, 32, 32, 3)), {"loc": jnp.ones((B, K, 4))})
    found = programs.send(program, params, encoded, source, draws, items)
    assert 0 < found.public_share.mean() < 0.6
    bound = 1e-6 * (1 + 5 / np.sqrt(L * C))  # the noise's variance over 60 complex symbols of a UAV
    assert (np.asarray(found.metrics["nmse_symbols"]) < bound).all()
