"""Plans within a budget: costs counted on bytes, the search against exhaustive search, what cannot be met."""

import itertools

import numpy as np
import pytest

from lvm_mtc.models import compression
from lvm_mtc.models.compression import Budget, Choice, Network, adapt, measure_rises, relax, singles, tighten, uniform
from lvm_mtc.models.packed import pack
from lvm_mtc.models.pruning import Group
from lvm_mtc.models.weights import flatten_params

RNG = np.random.default_rng(0)


def matrix(inputs, outputs, rank):
    return (RNG.normal(size=(inputs, rank)) @ RNG.normal(size=(rank, outputs)) / rank).astype(np.float32)


@pytest.fixture(scope="module")
def toy():
    """Three layers of unequal rank and weight, one of them an MLP of 20 units of which half hardly matter."""
    scale = np.where(np.arange(20) % 2, 1.0, 0.05).astype(np.float32)
    params = {
        "first": {"kernel": matrix(24, 16, 3), "bias": np.zeros(16, np.float32)},
        "mlp": {
            "norm2": {"scale": np.ones(16, np.float32)},
            "fc1": {"kernel": matrix(16, 20, 16), "bias": np.ones(20, np.float32)},
            "fc2": {"kernel": matrix(20, 16, 16) * scale[:, None]},
        },
        "last": {"kernel": 0.1 * matrix(16, 18, 16)},
    }
    x = RNG.normal(size=(200, 24)).astype(np.float32)

    def apply(params):
        y = np.tanh(x @ params["first"]["kernel"] + params["first"]["bias"])
        y = (
            y
            + np.maximum(y @ params["mlp"]["fc1"]["kernel"] + params["mlp"]["fc1"]["bias"], 0)
            @ params["mlp"]["fc2"]["kernel"]
        )
        return y @ params["last"]["kernel"]

    right = apply(params)
    groups = {"mlp/fc1": Group(20, 1)}
    flops = 2 * (24 * 16 + 2 * 16 * 20 + 16 * 18)
    network = Network(params, groups, {"mlp/fc1": scale**2}, flops, {"mlp/fc1": 2.0 * 2 * 16})
    return network, lambda params: float(np.mean((apply(params) - right) ** 2))


@pytest.fixture
def few_levels(monkeypatch):
    monkeypatch.setattr(compression, "LEVELS", {"share": (0.5,), "bits": (8, 4), "rank": (0.25,)})


PLANS = [
    {},
    {"mlp/fc1": Choice(share=0.5)},
    {"mlp/fc1": Choice(share=0.3, bits=5), "first/kernel": Choice(bits=16)},
    {
        "mlp/fc1": Choice(share=0.75, bits=4, rank=0.25),
        "last/kernel": Choice(rank=0.125),
        "first/kernel": Choice(bits=3),
    },
]


@pytest.mark.parametrize("plan", PLANS)
def test_costs_are_those_of_the_bytes_and_shapes(toy, plan):
    network, loss = toy
    small = network.compressed(plan)
    packings = network.packings(plan)
    held = 0
    for name, leaf in flatten_params(small).items():
        stored = pack(leaf, packings[name]) if name in packings else leaf
        held += sum(np.asarray(part).nbytes for part in flatten_params({"x": stored}).values())
    units = len(small["mlp"]["fc2"]["kernel"])
    cost = network.cost(plan)
    assert cost.size == held
    assert cost.flops == network.flops - (20 - units) * 64
    assert units == max(1, round(20 * plan.get("mlp/fc1", Choice()).share))
    np.testing.assert_allclose(loss(network.same_shapes(plan)), loss(small), rtol=1e-3, atol=1e-12)


def test_the_least_important_units_go(toy):
    network, loss = toy
    (kept,) = network.kept({"mlp/fc1": Choice(share=0.5)}).values()
    np.testing.assert_array_equal(kept, np.arange(1, 20, 2))
    assert loss(network.compressed({"mlp/fc1": Choice(share=0.5)})) < 0.02 * loss(
        Network(network.params, network.groups, {"mlp/fc1": -network.importance["mlp/fc1"]}).compressed(
            {"mlp/fc1": Choice(share=0.5)}
        )
    )


def test_as_good_as_exhaustive_search(toy, few_levels):
    """Of all 432 plans the best within each budget, or a loss within 3 % of it."""
    network, loss = toy
    options = [Choice(s, b, r) for s in (1.0, 0.5) for b in (32, 8, 4) for r in (1.0, 0.25)]
    free = [choice for choice in options if choice.share == 1]
    plans = [
        {"mlp/fc1": mlp, "first/kernel": first, "last/kernel": last}
        for mlp, first, last in itertools.product(options, free, free)
    ]
    costs = [network.cost(plan) for plan in plans]
    losses = np.array([loss(network.same_shapes(plan)) for plan in plans])
    rises, known = measure_rises(network, loss), singles(network, loss)
    full = network.cost({})
    found = []
    for size, flops in ((0.6, 1), (0.4, 1), (0.25, 1), (0.18, 1), (0.3, 0.8), (1, 0.8)):
        budget = Budget(size * full.size, flops * full.flops)
        best = min(value for value, cost in zip(losses, costs, strict=True) if cost.within(budget))
        candidate = adapt(network, rises, budget, loss, known)
        assert candidate.cost.within(budget)
        assert best <= candidate.loss <= 1.03 * best
        assert all(candidate.loss <= single.loss for single in known if single.cost.within(budget))
        found.append(candidate.loss)
    assert all(larger <= smaller + 1e-3 * losses.max() for larger, smaller in itertools.pairwise(found[:4]))


def test_room_that_is_left_is_spent_where_it_helps(toy, few_levels):
    """Actions alone, least rise for what they save first, lose to eight bits for everything; the search does not."""
    network, loss = toy
    rises, known = measure_rises(network, loss), singles(network, loss)
    budget = Budget(size=0.6 * network.cost({}).size)
    tight = tighten(network, rises, budget)
    (eight,) = (candidate for candidate in known if candidate.name == "bits 8")
    assert eight.cost.within(budget) and loss(network.same_shapes(tight)) > eight.loss
    for plan in (tight, eight.plan):
        milder = relax(network, rises, budget, plan)
        before, after = network.cost(plan), network.cost(milder)
        assert before.size < after.size <= budget.size
        assert loss(network.same_shapes(milder)) < loss(network.same_shapes(plan))
        assert relax(network, rises, budget, milder) == milder
    assert adapt(network, rises, budget, loss, known).loss < eight.loss
    assert relax(network, rises, Budget(), eight.plan) == {part: Choice() for part in network.parts}


def test_a_budget_that_holds_already_changes_nothing(toy):
    network, loss = toy
    full = network.cost({})
    assert tighten(network, measure_rises(network, loss), Budget(*full)) == {}
    assert all(network.compressed({})[key] is not None for key in network.params)
    for name, leaf in flatten_params(network.compressed({})).items():
        np.testing.assert_array_equal(leaf, flatten_params(network.params)[name])
    assert full.size == 4 * sum(leaf.size for leaf in flatten_params(network.params).values())


def test_what_cannot_be_met_is_said(toy):
    network, loss = toy
    rises = measure_rises(network, loss)
    least = network.cost(uniform(network, "share", 0.25)).flops
    with pytest.raises(ValueError, match=rf"Budget.flops 500 cannot be met: all actions reach {least:,}"):
        tighten(network, rises, Budget(flops=500))
    with pytest.raises(ValueError, match="Budget.size 100 cannot be met: all actions reach"):
        tighten(network, rises, Budget(size=100))
