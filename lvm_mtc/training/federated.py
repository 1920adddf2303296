"""Federated split fine-tuning: rounds in which clients learn from their own data and their fronts are averaged.

Source: McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data (2017); Thapa et al.,
SplitFed (2022), whose second version has one server network for all clients.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.config import require_count, require_number, require_one_of
from lvm_mtc.models.lora import truncate
from lvm_mtc.training.checkpoint import CheckpointStore
from lvm_mtc.training.monitor import NonFiniteLoss
from lvm_mtc.training.split import PyTree, Split, Traffic, bits_of, over_the_air
from lvm_mtc.training.state import path_name

AGGREGATES = ("freeze_a", "factors", "product")
STRAGGLERS = ("partial", "drop")
SERVERS = ("shared", "per_client")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FederatedConfig:
    """Numbers of a run.

    Attributes:
        rounds: Rounds, each ending with an average over the clients.
        local_steps: Steps of stochastic gradient descent of each client in a round.
        batch_size: Examples of a step, drawn with repetition; None: all of the client's.
        learning_rate: Of clients and server; plain descent without momentum.
        aggregate: How fronts that hold adapters become one. ``"freeze_a"``: A stays as it was drawn and the Bs are
            averaged, which averages the updates A B exactly; ``"factors"``: As and Bs are averaged apart, which does
            not; ``"product"``: the updates are averaged and brought back to their rank by a truncated SVD. Arrays that
            are no adapters are averaged.
        server: ``"shared"``: one back, which learns from the clients in turn (SplitFed V2); ``"per_client"``: a copy
            for each in a round, averaged too (V1).
        straggle: Probability that a client does not end a round: it stops before one of its steps, any as likely.
        stragglers: ``"partial"``: what it has done counts with its full weight; ``"drop"``: it is left out.
        gradient_snr_db: SNR of derivatives that go down as analogue symbols; None: as numbers, without errors.
        checkpoint_every: Steps of single clients from one checkpoint to the next.
        seed: Of batches, channels and stragglers.
    """

    rounds: int
    local_steps: int = 1
    batch_size: int | None = None
    learning_rate: float = 0.1
    aggregate: str = "freeze_a"
    server: str = "shared"
    straggle: float = 0.0
    stragglers: str = "partial"
    gradient_snr_db: float | None = None
    checkpoint_every: int = 50
    seed: int = 0

    def __post_init__(self):
        for field in ("rounds", "local_steps", "checkpoint_every"):
            require_count("FederatedConfig", field, getattr(self, field))
        if self.batch_size is not None:
            require_count("FederatedConfig", "batch_size", self.batch_size)
        require_number("FederatedConfig", "learning_rate", self.learning_rate, 0.0, strict=True)
        require_number("FederatedConfig", "straggle", self.straggle, 0.0, most=1.0)
        if self.gradient_snr_db is not None:
            require_number("FederatedConfig", "gradient_snr_db", self.gradient_snr_db)
        require_one_of("FederatedConfig", "aggregate", self.aggregate, AGGREGATES)
        require_one_of("FederatedConfig", "server", self.server, SERVERS)
        require_one_of("FederatedConfig", "stragglers", self.stragglers, STRAGGLERS)


class Round(NamedTuple):
    """What a round tells: mean loss of its steps, what crossed the border, and the steps that each client did."""

    loss: float
    traffic: Traffic
    steps: tuple[int, ...]


class Federated(NamedTuple):
    """What a run gives: the front that all clients have at the end, the server's back, and its rounds."""

    front: PyTree
    back: PyTree
    rounds: list[Round]


def dirichlet_split(labels: np.ndarray, num_clients: int, alpha: float, seed: int) -> list[np.ndarray]:
    """Deals out examples: of each class the clients get shares that a symmetric Dirichlet distribution draws.

    Args:
        labels: Class of each example, ``[n]``.
        alpha: > 0; 100 is nearly equal shares, 0.3 leaves most of a class with one or two clients.

    Returns:
        Places of each client's examples, ascending; every example goes to one client.

    Source: Hsu, Qi, Brown, Measuring the Effects of Non-Identical Data Distribution (2019).
    """
    require_number("dirichlet_split", "alpha", alpha, 0, strict=True)
    rng = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[] for _ in range(num_clients)]
    for label in np.unique(labels):
        places = rng.permutation(np.flatnonzero(labels == label))
        ends = np.rint(np.cumsum(rng.dirichlet(np.full(num_clients, alpha))) * len(places)).astype(int)[:-1]
        for part, piece in zip(parts, np.split(places, ends), strict=True):
            part.append(piece)
    return [np.sort(np.concatenate(part)) for part in parts]


def average(fronts: Sequence[PyTree], weights: Sequence[float], aggregate: str) -> PyTree:
    """One front of several, ``weights`` of which are taken over their sum; float64 inside."""
    share = np.asarray(weights, np.float64) / np.sum(weights)

    def mean(*leaves):
        total = sum(w * np.asarray(leaf, np.float64) for w, leaf in zip(share, leaves, strict=True))
        return jnp.asarray(total, leaves[0].dtype)

    if aggregate != "product":
        return jax.tree.map(mean, *fronts)

    def merged(*nodes):
        if not _is_adapter(nodes[0]):
            return mean(*nodes)
        products = (np.asarray(n["a"], np.float64) @ np.asarray(n["b"], np.float64) for n in nodes)
        update = sum(w * product for w, product in zip(share, products, strict=True))
        factors = truncate(update, nodes[0]["a"].shape[-1])
        return {name: jnp.asarray(f, nodes[0][name].dtype) for name, f in zip("ab", factors, strict=True)}

    return jax.tree.map(merged, *fronts, is_leaf=_is_adapter)


def _is_adapter(node: Any) -> bool:
    return isinstance(node, Mapping) and set(node) == {"a", "b"}


def descend(params: PyTree, gradient: PyTree, learning_rate: float, *, freeze_a: bool = False) -> PyTree:
    """One step of gradient descent; the As of adapters may stay."""

    def step(path, leaf, slope):
        stays = freeze_a and path_name(path).rpartition("/")[2] == "a"
        return leaf if stays else leaf - learning_rate * slope

    return jax.tree_util.tree_map_with_path(step, params, gradient)


def client_step(split: Split, config: FederatedConfig, front: PyTree, back: PyTree, batch: PyTree, key: jax.Array):
    """A client's step and what the server learns from it: both parts after it, the loss, the traffic."""
    link_key, air_key = jax.random.split(key)
    crossing, traffic = split.up(front, batch, jax.random.clone(link_key))
    (loss, _), by_back, by_crossing = split.serve(back, crossing, batch)
    if config.gradient_snr_db is not None:
        by_crossing = over_the_air(by_crossing, config.gradient_snr_db, air_key)
    by_front = split.down(front, batch, jax.random.clone(link_key), by_crossing)
    front = descend(front, by_front, config.learning_rate, freeze_a=config.aggregate == "freeze_a")
    return front, descend(back, by_back, config.learning_rate), loss, traffic


def train_federated(
    config: FederatedConfig,
    split: Split,
    front: PyTree,
    back: PyTree,
    data: Sequence[PyTree],
    *,
    run_dir: str | Path | None = None,
    watch: Callable[[int, PyTree, PyTree], None] = lambda number, front, back: None,
) -> Federated:
    """Runs the rounds, or goes on where the same run in ``run_dir`` stopped, in the middle of a round too.

    A run that is killed and started again ends with the same numbers, bit for bit, as one that was left alone.

    Args:
        front: What every client starts with.
        back: The server's.
        data: A pytree of arrays for each client, whose leading axis is that of its examples; at least one.
        run_dir: Folder of the checkpoints; None: none are written.
        watch: Called after each round with its number, the front and the back.

    Raises:
        ValueError: if a client has no examples.
        CheckpointError: if the folder's checkpoints belong to another configuration.
        NonFiniteLoss: at the end of a round whose loss is NaN or infinite.
    """
    sizes = [len(jax.tree.leaves(of)[0]) for of in data]
    if not sizes or min(sizes) == 0:
        raise ValueError(f"every client needs examples, got {sizes}")
    run = _Run(config, split, [jax.tree.map(jnp.asarray, of) for of in data], sizes, watch)
    state = run.begin(jax.tree.map(jnp.asarray, front), jax.tree.map(jnp.asarray, back))
    if run_dir is None:
        return run.go(state, None, 0, {"rounds": []})
    identity = dataclasses.asdict(config) | {"rounds": None, "checkpoint_every": None, "sizes": sizes}
    with CheckpointStore(Path(run_dir) / "checkpoints", fingerprint=identity) as store:
        state, done, extra = store.restore(state) or (state, 0, {"rounds": []})
        return run.go(state, store, done, extra)


class _Run:
    """Rounds of steps of single clients, in a fixed order: step after step, in each the clients in turn."""

    def __init__(self, config: FederatedConfig, split: Split, data: list[PyTree], sizes: list[int], watch: Callable):
        self.config, self.data, self.sizes, self.watch = config, data, sizes, watch
        self.step = jax.jit(functools.partial(client_step, split, config))

    def begin(self, front: PyTree, back: PyTree) -> dict[str, Any]:
        """State at the start of a round: everyone has the same."""
        clients = len(self.data)
        backs = [back] * (clients if self.config.server == "per_client" else 1)
        told = {"loss": jnp.zeros(()), "traffic": Traffic(*[jnp.zeros(())] * 4), "count": jnp.zeros((), jnp.int32)}
        return {"global": front, "fronts": [front] * clients, "backs": backs, **told}

    def go(self, state: dict[str, Any], store: CheckpointStore | None, done: int, extra: dict[str, Any]) -> Federated:
        per_round = self.config.local_steps * len(self.data)
        rounds = [Round(of[0], Traffic(*of[1]), tuple(of[2])) for of in extra["rounds"]]
        while done < self.config.rounds * per_round:
            number, place = divmod(done, per_round)
            step, client = divmod(place, len(self.data))
            steps = self.steps_of(number)
            if step < steps[client]:
                self.advance(state, number, step, client)
            done += 1
            if done % per_round == 0:
                loss = float(state["loss"]) / max(int(state["count"]), 1)
                if not np.isfinite(loss):
                    raise NonFiniteLoss(f"the loss of round {number + 1} is not finite: lower learning_rate", done)
                rounds.append(Round(loss, state["traffic"], steps))
                state, spent = self.close(state, steps)
                self.watch(number, state["global"], state["backs"][0])
                rounds[-1] = rounds[-1]._replace(traffic=Traffic(*map(float, rounds[-1].traffic.plus(spent))))
            last = done == self.config.rounds * per_round
            if store is not None and (last or done % self.config.checkpoint_every == 0):
                store.save(state, done, {"rounds": [[r.loss, list(r.traffic), list(r.steps)] for r in rounds]})
        return Federated(state["global"], state["backs"][0], rounds)

    def steps_of(self, number: int) -> tuple[int, ...]:
        """Steps that each client does in a round."""
        rng = np.random.default_rng((self.config.seed, number))
        slow = rng.uniform(size=len(self.data)) < self.config.straggle
        reached = rng.integers(0, self.config.local_steps, len(self.data))
        return tuple(int(n) for n in np.where(slow, reached, self.config.local_steps))

    def advance(self, state: dict[str, Any], number: int, step: int, client: int) -> None:
        key = jax.random.key(self.config.seed)
        for part in (number, step, client):
            key = jax.random.fold_in(key, part)
        batch_key, key = jax.random.split(key)
        batch = self.data[client]
        if self.config.batch_size is not None:
            places = jax.random.randint(batch_key, (self.config.batch_size,), 0, self.sizes[client])
            batch = jax.tree.map(lambda leaf: leaf[places], batch)
        server = client if self.config.server == "per_client" else 0
        new = self.step(state["fronts"][client], state["backs"][server], batch, key)
        state["fronts"][client], state["backs"][server], loss, traffic = new
        state["loss"], state["count"] = state["loss"] + loss, state["count"] + 1
        state["traffic"] = state["traffic"].plus(traffic)

    def close(self, state: dict[str, Any], steps: tuple[int, ...]) -> tuple[dict[str, Any], Traffic]:
        """Averages, and starts the next round; what the averages cost: a front up from each, one down to each."""
        whole = [n == self.config.local_steps for n in steps]
        counted = whole if self.config.stragglers == "drop" else [True] * len(steps)
        front, back = state["global"], state["backs"][0]
        if any(counted):
            chosen = [(f, n) for f, n, c in zip(state["fronts"], self.sizes, counted, strict=True) if c]
            front = average(*zip(*chosen, strict=True), self.config.aggregate)
            if self.config.server == "per_client":
                backs = [(b, n) for b, n, c in zip(state["backs"], self.sizes, counted, strict=True) if c]
                back = average(*zip(*backs, strict=True), "factors")
        moved = {"a": None} if self.config.aggregate == "freeze_a" else {}
        bits = bits_of(_without(front, moved)) * (sum(counted) + len(steps))
        return self.begin(front, back), Traffic(0.0, 0.0, 0.0, float(bits))


def _without(front: PyTree, names: Mapping[str, None]) -> PyTree:
    """Leaves that move: the As of adapters do not where they are frozen."""
    leaves = jax.tree_util.tree_leaves_with_path(front)
    return [leaf for path, leaf in leaves if path_name(path).rpartition("/")[2] not in names]
