"""The video codec's stage that learns by how frames look."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.metrics.perceptual import perceptual_distance
from lvm_mtc.metrics.pictures import ssim
from lvm_mtc.models.perceptual import PerceptualNet
from lvm_mtc.schemes.pvsc import losses
from lvm_mtc.schemes.pvsc.scheme import Pvsc, PvscConfig
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward

pytestmark = pytest.mark.usefixtures("fast_compile")

SCHEME = Pvsc(
    PvscConfig(size=(32, 32), num_frames=2, gop=2, num_uses=40, features=12, chunk=2, intra_factor=1.5, network="tiny"),
    perceptual="a file of ST-LPIPS",
)
LINK, POINT = LinkConfig(fading="awgn"), OperatingPoint(snr_db=10.0)


def test_the_stage_is_there_where_a_file_is_named():
    assert [stage.name for stage in SCHEME.stages()] == ["system", "perceptual"]
    assert [stage.name for stage in dataclasses.replace(SCHEME, perceptual=None).stages()] == ["system"]
    assert dataclasses.replace(SCHEME, config=SCHEME.linear_config).stages() == ()


@pytest.mark.slow
def test_the_loss_is_that_of_the_metrics_and_the_network_learns_alone(monkeypatch):
    judge = jax.jit(PerceptualNet().init)(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    asked = []
    monkeypatch.setattr(losses, "_judge", lambda path: asked.append(path) or judge)
    rng = np.random.default_rng(0)
    source = Source(np.float32(rng.uniform(0.3, 0.7, (1, 1, 2, 32, 32, 3))))
    params = SCHEME.init(jax.random.key(1))
    params["network"] = jax.tree.map(lambda a: jnp.float32(0.1 * rng.normal(size=a.shape)), params["network"])
    stage = SCHEME.stages()[1]
    weights = {"distance": 3.0, "similarity": 0.7}

    @jax.jit
    def run(params):
        loss = lambda p: stage.loss(SCHEME, p, source, jax.random.key(2), LINK, POINT, weights)  # noqa: E731
        return jax.value_and_grad(loss, has_aux=True)(params)

    (loss, told), gradient = run(params)
    received = forward(SCHEME, params, source, jax.random.key(2), LINK, POINT).estimate.data
    distance = float(perceptual_distance(judge, source.data, received).mean())
    similarity = float(ssim(source.data, received, jnp.ones((1, 1, 2, 32, 32), bool)).mean())
    mse = float(jnp.mean((received - source.data) ** 2))
    assert asked == ["a file of ST-LPIPS"] and distance > 1e-3 and similarity < 0.95
    assert float(told["distance"]) == pytest.approx(distance, rel=1e-3)
    assert float(told["ssim"]) == pytest.approx(similarity, rel=1e-3)
    assert float(loss) == pytest.approx(mse + 3.0 * distance + 0.7 * (1 - similarity), rel=1e-3)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        assert np.isfinite(leaf).all() and bool(np.abs(leaf).max() > 0) == stage.trainable(name), name
