"""Federated rounds on a small network: FedAvg = central descent, weights, aggregations, skew, stragglers, resuming."""

import dataclasses
import functools
import socket
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.training.border import PeerLost, join_round, receive_tree, send_tree, serve_round
from lvm_mtc.training.checkpoint import CheckpointStore
from lvm_mtc.training.federated import FederatedConfig, average, client_step, descend, dirichlet_split, train_federated
from lvm_mtc.training.monitor import NonFiniteLoss
from lvm_mtc.training.split import Split, Traffic

pytestmark = pytest.mark.usefixtures("fast_compile")

RNG = np.random.default_rng(0)
WIDTH = 6
BASE = RNG.normal(size=(4, WIDTH)).astype(np.float32)


def front(params, batch, key):
    """A kernel with an adapter beside it; what crosses is complex, with noise of the key, and a mask."""
    y = jnp.tanh(batch["x"] @ (BASE + params["layer"]["a"] @ params["layer"]["b"]) + params["bias"][None])
    crossing = {"y": jax.lax.complex(y, 2 * y) + 0.01 * jax.random.normal(key, y.shape), "heard": batch["x"][:, 0] > -9}
    return crossing, Traffic(jnp.float32(y.size), jnp.float32(3.0), 0.0, 0.0)


def back(params, crossing, batch):
    y = jnp.where(crossing["heard"][:, None], crossing["y"].real + crossing["y"].imag, 0)
    loss = jnp.mean((y @ params["kernel"] - batch["target"]) ** 2)
    return loss, {}


SPLIT = Split(front, back)
FRONT = {
    "layer": {"a": 0.3 * RNG.normal(size=(4, 2)).astype(np.float32), "b": np.zeros((2, WIDTH), np.float32)},
    "bias": np.zeros(WIDTH, np.float32),
}
BACK = {"kernel": RNG.normal(size=(WIDTH, 1)).astype(np.float32) * 0.3}


def clients(*sizes):
    return [
        {"x": RNG.normal(size=(n, 4)).astype(np.float32), "target": RNG.normal(size=(n, 1)).astype(np.float32)}
        for n in sizes
    ]


def quiet(params, batch, key):
    crossing, traffic = front(params, batch, jax.random.key(0))
    return crossing | {"y": jax.lax.complex(crossing["y"].imag / 2, crossing["y"].imag)}, traffic


QUIET = Split(quiet, back)


@pytest.mark.slow
@pytest.mark.parametrize("aggregate", ["freeze_a", "factors"])
@pytest.mark.parametrize("sizes", [(8, 8, 8), (4, 12, 7)])
def test_one_step_of_all_is_a_central_step_on_the_joined_data(aggregate, sizes):
    """Weights n_k / n; the back of each client is averaged too. A and B start so that the factors' step is exact."""
    data = clients(*sizes)
    config = FederatedConfig(rounds=1, aggregate=aggregate, server="per_client", learning_rate=0.2)
    got = train_federated(config, QUIET, FRONT, BACK, data)
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *data)
    slope = jax.jit(jax.grad(lambda f, b: back(b, quiet(f, joined, None)[0], joined)[0], (0, 1)))(FRONT, BACK)
    wanted = [descend(p, s, 0.2, freeze_a=aggregate == "freeze_a") for p, s in zip((FRONT, BACK), slope, strict=True)]
    for a, b in zip(jax.tree.leaves([got.front, got.back]), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert np.abs(got.front["layer"]["b"]).max() > 1e-3


def test_one_client_is_local_training_and_their_order_does_not_matter():
    data = clients(9, 5)
    config = FederatedConfig(rounds=2, local_steps=3, aggregate="factors", server="per_client")
    alone = train_federated(config, QUIET, FRONT, BACK, data[:1])
    local = (FRONT, BACK)
    slope = jax.jit(jax.grad(lambda f, b: back(b, quiet(f, data[0], None)[0], data[0])[0], (0, 1)))
    for _ in range(6):
        local = tuple(descend(p, s, 0.1) for p, s in zip(local, slope(*local), strict=True))
    for a, b in zip(jax.tree.leaves([alone.front, alone.back]), jax.tree.leaves(list(local)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    step, same = jax.jit(functools.partial(client_step, QUIET, config)), (FRONT, BACK)
    for number in range(6):
        same = step(*same, data[0], jax.random.key(number))[:2]
    assert jax.tree.all(jax.tree.map(np.array_equal, (alone.front, alone.back), same))
    one, other = (train_federated(config, QUIET, FRONT, BACK, order) for order in (data, data[::-1]))
    for a, b in zip(jax.tree.leaves(one.front), jax.tree.leaves(other.front), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_aggregations_of_adapters():
    """With one A the mean of factors is exact; with several it is not, and the product's truncation is the best."""
    a, b = RNG.normal(size=(3, 8, 2)), RNG.normal(size=(3, 2, 7))
    weights = np.array([1.0, 2.0, 5.0])
    fronts = [{"k": {"a": jnp.float32(x), "b": jnp.float32(y)}} for x, y in zip(a, b, strict=True)]
    update = np.einsum("k,kir,kro->io", weights / 8, a, b)

    def error(aggregate, fronts=fronts, wanted=update):
        merged = average(fronts, weights, aggregate)["k"]
        return np.linalg.norm(np.asarray(merged["a"], float) @ merged["b"] - wanted) / np.linalg.norm(wanted)

    same_a = [{"k": {"a": fronts[0]["k"]["a"], "b": of["k"]["b"]}} for of in fronts]
    assert error("factors", same_a, a[0] @ np.einsum("k,kro->ro", weights / 8, b)) < 1e-6
    s = np.linalg.svd(update, compute_uv=False)
    np.testing.assert_allclose(error("product"), np.linalg.norm(s[2:]) / np.linalg.norm(s), rtol=1e-5)
    assert error("factors") > 1.2 * error("product") > 0.1


def test_frozen_as_stay_and_many_steps_of_both_factors_do_not_average():
    data = clients(12, 12)
    runs = {
        aggregate: train_federated(
            FederatedConfig(rounds=1, local_steps=20, aggregate=aggregate), SPLIT, FRONT, BACK, data
        )
        for aggregate in ("freeze_a", "factors", "product")
    }
    np.testing.assert_array_equal(runs["freeze_a"].front["layer"]["a"], FRONT["layer"]["a"])
    updates = {name: np.asarray(run.front["layer"]["a"] @ run.front["layer"]["b"]) for name, run in runs.items()}
    gap = np.linalg.norm(updates["factors"] - updates["product"]) / np.linalg.norm(updates["product"])
    assert gap > 0.1
    # Activations of 2 clients, 20 steps, 12 examples of 6 symbols; B and bias up and down, of "factors" A too.
    first = runs["freeze_a"].rounds[0].traffic
    assert first == Traffic(2 * 20 * 12 * 6, 2 * 20 * 3, 2 * 20 * 12 * 6 * 2, 32 * 4 * (2 * WIDTH + WIDTH))
    assert runs["factors"].rounds[0].traffic.adapter_bits == 32 * 4 * (2 * WIDTH + WIDTH + 2 * 4)


def test_a_client_without_steps_drags_the_mean_by_its_weight_or_is_left_out():
    data = clients(10, 30)
    config = FederatedConfig(rounds=1, local_steps=4, straggle=0.5, server="per_client")
    seed = next(seed for seed in range(99) if _steps(seed) == (0, 4))
    partial = train_federated(dataclasses.replace(config, seed=seed), QUIET, FRONT, BACK, data)
    dropped = train_federated(dataclasses.replace(config, seed=seed, stragglers="drop"), QUIET, FRONT, BACK, data)
    assert partial.rounds[0].steps == (0, 4)
    for start, mean, whole in zip(*map(jax.tree.leaves, (FRONT, partial.front, dropped.front)), strict=True):
        np.testing.assert_allclose(mean, 0.25 * start + 0.75 * whole, atol=1e-6)
    assert dropped.rounds[0].traffic.adapter_bits == 0.75 * partial.rounds[0].traffic.adapter_bits


def _steps(seed):
    rng = np.random.default_rng((seed, 0))
    slow = rng.uniform(size=2) < 0.5
    reached = rng.integers(0, 4, 2)
    return tuple(int(n) for n in np.where(slow, reached, 4))


def test_skewed_shares():
    labels = np.repeat(np.arange(10), 500)
    for alpha in (100.0, 0.3):
        parts = dirichlet_split(labels, 4, alpha, seed=0)
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(5000))
        shares = np.array([np.bincount(labels[part], minlength=10) for part in parts]) / 500
        # Of Dirichlet(alpha, ..., alpha) with K components a share's variance is (K - 1) / (K^2 (K alpha + 1)).
        deviation = (3 / 16 / (4 * alpha + 1)) ** 0.5
        assert 0.6 * deviation < shares.std() < 1.4 * deviation
    with pytest.raises(ValueError, match="alpha must be a finite number > 0, got 0"):
        dirichlet_split(labels, 4, 0, seed=0)


CONFIG = FederatedConfig(
    rounds=3,
    local_steps=4,
    batch_size=5,
    aggregate="product",
    learning_rate=0.02,
    gradient_snr_db=10.0,
    checkpoint_every=11,
)


def test_a_run_goes_on_where_it_stopped_in_a_round(tmp_path, monkeypatch):
    data = clients(9, 14)
    whole = train_federated(CONFIG, SPLIT, FRONT, BACK, data)

    class Stopped(Exception):
        pass

    save = CheckpointStore.save

    def save_and_stop(store, state, step, extra=None):
        save(store, state, step, extra)
        if step == 11:  # in the second step of the second round's second client
            raise Stopped

    monkeypatch.setattr(CheckpointStore, "save", save_and_stop)
    with pytest.raises(Stopped):
        train_federated(CONFIG, SPLIT, FRONT, BACK, data, run_dir=tmp_path)
    monkeypatch.undo()
    resumed = train_federated(CONFIG, SPLIT, FRONT, BACK, data, run_dir=tmp_path)
    assert jax.tree.all(jax.tree.map(np.array_equal, resumed[:2], whole[:2]))
    assert resumed.rounds == whole.rounds and len(whole.rounds) == 3


def test_the_border_over_a_socket_and_a_peer_that_vanishes():
    """What comes of a round over sockets is what comes of one in a process; the lost client's weight is gone."""
    config = FederatedConfig(rounds=1, local_steps=2, aggregate="factors")
    data = clients(6, 6, 6)
    pairs = [socket.socketpair() for _ in data]
    names = ["first", "second", "lost"]
    for ours, theirs in pairs:
        ours.settimeout(20)
        theirs.settimeout(20)
    keys = [[jax.random.key(10 * c + s) for s in range(2)] for c in range(3)]

    def client(number):
        batches = [data[number]] * 2
        join_round(pairs[number][1], QUIET, config, FRONT, batches, keys[number], examples=6 * (number + 1))

    def vanish():
        receive_tree(pairs[2][1])
        pairs[2][1].sendall(b"\x00\x01")
        pairs[2][1].close()

    threads = [
        threading.Thread(target=client, args=(0,)),
        threading.Thread(target=client, args=(1,)),
        threading.Thread(target=vanish),
    ]
    for thread in threads:
        thread.start()
    like = QUIET.front(FRONT, data[0], None)[0], data[0]
    peers = dict(zip(names, (ours for ours, _ in pairs), strict=True))
    served = serve_round(peers, QUIET, config, FRONT, BACK, like)
    for thread in threads:
        thread.join(20)
    assert served.ended == ("first", "second")
    assert served.lost == {"lost": "closed after 2 of 8 bytes"}

    fronts, behind = [FRONT, FRONT], BACK
    slope = jax.jit(jax.grad(lambda f, b, of: back(b, quiet(f, of, None)[0], of)[0], (0, 1)))
    for _ in range(2):
        for number in (0, 1):
            by_front, by_back = slope(fronts[number], behind, data[number])
            fronts[number], behind = descend(fronts[number], by_front, 0.1), descend(behind, by_back, 0.1)
    wanted = average(fronts, [6, 12], "factors"), behind
    for a, b in zip(jax.tree.leaves([served.front, served.back]), jax.tree.leaves(list(wanted)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    for ours, _ in pairs:
        ours.close()


def test_what_is_no_message_is_a_lost_peer():
    ours, theirs = socket.socketpair()
    ours.settimeout(0.05)
    with pytest.raises(PeerLost, match="nothing received: timed out"):
        receive_tree(ours)
    theirs.sendall((2**40).to_bytes(8, "little"))
    with pytest.raises(PeerLost, match="a message of 1099511627776 bytes"):
        receive_tree(ours)
    theirs.sendall((1).to_bytes(8, "little") + b"\xc1")
    with pytest.raises(PeerLost, match="no msgpack"):
        receive_tree(ours)
    sent = {"x": np.arange(6, dtype=np.complex64).reshape(2, 3)}
    assert send_tree(theirs, sent) > 48
    np.testing.assert_array_equal(receive_tree(ours)["x"], sent["x"])
    ours.close()
    with pytest.raises(PeerLost, match="cannot send"):
        for _ in range(9):
            send_tree(theirs, {"x": np.zeros(10**6)})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"aggregate": "median"}, "FederatedConfig.aggregate"),
        ({"local_steps": 0}, "FederatedConfig.local_steps"),
        ({"straggle": 1.5}, r"FederatedConfig.straggle must be a finite number >= 0 and <= 1, got 1.5"),
    ],
)
def test_wrong_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        FederatedConfig(rounds=1, **fields)


def test_a_run_that_diverges_says_so():
    with pytest.raises(NonFiniteLoss, match="the loss of round 1 is not finite"):
        train_federated(FederatedConfig(rounds=2, local_steps=30, learning_rate=1e6), SPLIT, FRONT, BACK, clients(5))


def test_clients_need_examples():
    with pytest.raises(ValueError, match=r"every client needs examples, got \[3, 0\]"):
        train_federated(FederatedConfig(rounds=1), SPLIT, FRONT, BACK, clients(3, 0))
