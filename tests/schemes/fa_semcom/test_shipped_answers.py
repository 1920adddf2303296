"""The shipped answerers on pictures that they were not trained on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.fa_semcom import pack
from experiments.fa_semcom.export import FILES
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.weights import load_weights
from lvm_mtc.schemes.loading import QUESTION_WEIGHTS, load_scheme
from lvm_mtc.schemes.question_source import question_source
from lvm_mtc.schemes.simulate import forward


def test_they_say_what_they_are_and_are_small():
    for file, sees in zip(FILES.values(), ("features", "features", "levels"), strict=True):
        scheme, _ = load_scheme(file)
        assert (scheme.config.num_patches, scheme.config.num_bits, scheme.config.sees) == (60, 4, sees)
        metadata = load_weights(file)[1]
        assert metadata["data"]["file"] == "carla_base.npz" and metadata["scheme"] == "fa_semcom"
    assert sum(file.stat().st_size for file in FILES.values()) < 2 * 2**20


@pytest.mark.slow
def test_answers_about_test_pictures(shared_data):
    encoder = pack.PatchEncoder(pack.Yolox(pack.read_onnx(shared_data / "weights" / "yolox_nano.onnx")))
    words = pack.read_word_vectors(shared_data / "weights" / "glove50_top20k_fp16.npz")
    files = pack.list_images(shared_data / "carla_320" / "test" / "JPEGImages")[::5]
    packed = pack.pack(encoder, words, files, pack.SUBJECTS)
    source = jax.tree.map(jnp.asarray, question_source(packed, np.arange(len(packed.answer))[:, None]))
    link = LinkConfig(fading="awgn", num_rx_ant=1, num_tx_ant=1)

    def accuracy(snr_db):
        scheme, params = load_scheme(QUESTION_WEIGHTS)
        out = forward(scheme, params, source, jax.random.key(0), link, OperatingPoint(snr_db))
        return float(np.mean(np.argmax(out.estimate.data, -1) == source.data["answer"]))

    quiet = accuracy(60.0)
    assert quiet > 0.6 and accuracy(-10.0) < quiet - 0.1
