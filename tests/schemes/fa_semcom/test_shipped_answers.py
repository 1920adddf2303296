"""The shipped answerers on pictures that they were not trained on."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.weights import SHIPPED, load_weights
from lvm_mtc.schemes.loading import QUESTION_WEIGHTS, load_scheme
from lvm_mtc.schemes.question_source import question_source
from lvm_mtc.schemes.simulate import forward

FILES = ("fa_semcom.npz", "fa_semcom_clean.npz", "fa_semcom_levels.npz")
DATA = Path(os.environ.get("LVM_MTC_DATA", "../shared/data"))


def test_they_say_what_they_are_and_are_small():
    for file, sees in zip(FILES, ("features", "features", "levels"), strict=True):
        scheme, _ = load_scheme(SHIPPED / file)
        assert (scheme.config.num_patches, scheme.config.num_bits, scheme.config.sees) == (60, 4, sees)
        metadata = load_weights(SHIPPED / file)[1]
        assert metadata["data"]["file"] == "carla_base.npz" and metadata["scheme"] == "fa_semcom"
    assert sum((SHIPPED / file).stat().st_size for file in FILES) < 2 * 2**20


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "carla_320").is_dir(), reason="needs CARLA's pictures")
def test_answers_about_test_pictures():
    from experiments.fa_semcom import pack

    encoder = pack.PatchEncoder(pack.Yolox(pack.read_onnx(DATA / "weights" / "yolox_nano.onnx")))
    words = pack.read_word_vectors(DATA / "weights" / "glove50_top20k_fp16.npz")
    files = pack.list_images(DATA / "carla_320" / "test" / "JPEGImages")[::5]
    packed = pack.pack(encoder, words, files, pack.SUBJECTS)
    source = jax.tree.map(jnp.asarray, question_source(packed, np.arange(len(packed.answer))[:, None]))
    link = LinkConfig(fading="awgn", num_rx_ant=1, num_tx_ant=1)

    def accuracy(snr_db):
        scheme, params = load_scheme(QUESTION_WEIGHTS)
        out = forward(scheme, params, source, jax.random.key(0), link, OperatingPoint(snr_db))
        return float(np.mean(np.argmax(out.estimate.data, -1) == source.data["answer"]))

    quiet = accuracy(60.0)
    assert quiet > 0.6 and accuracy(-10.0) < quiet - 0.1
