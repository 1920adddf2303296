import json
import os
import pickle
import zipfile

import jax
import numpy as np
import pytest
from PIL import Image

from lvm_mtc.models.weights import save_weights
from lvm_mtc.schemes.deepjscc.scheme import DeepJscc, DeepJsccConfig
from lvm_mtc.schemes.loading import identity
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc


class Command:
    """Pickled, it runs a command where it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


SMALL = LvmMtc(LvmMtcConfig(variant="linear", image_size=32, patch_size=8, num_symbols=8, power_allocation=False))
CODEC = DeepJscc(DeepJsccConfig(image_size=32, num_symbols=4))


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Weights files of schemes that compile fast: of tokens, and a codec for whole pictures."""
    folder = tmp_path_factory.mktemp("weights")
    for name, scheme in (("small.npz", SMALL), ("codec.npz", CODEC)):
        save_weights(folder / name, jax.device_get(scheme.init(jax.random.key(0))), identity(scheme))
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch, weights):
    """A working directory with pictures, good and bad, and the good weights."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(3):
        smooth = np.kron(rng.integers(0, 256, (8, 10, 3)), np.ones((10, 10, 1)))
        Image.fromarray(smooth.astype(np.uint8)).save(tmp_path / "photos" / f"p{i}.png")
    for path in weights.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())

    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (tmp_path / "tiny").mkdir()
    Image.new("RGB", (20, 9)).save(tmp_path / "tiny" / "t.png")
    (tmp_path / "half.npz").write_bytes((weights / "small.npz").read_bytes()[:500])
    np.savez(tmp_path / "foreign.npz", a=np.zeros(3))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.tex").write_text("x")
    (tmp_path / "earlier").mkdir()
    (tmp_path / "earlier" / "lvm-mtc-result.json").write_text("{}")
    (tmp_path / "text.json").write_text("not json")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "x.yaml").write_text("snr_db: [0, 10]")
    (tmp_path / "place.json").write_text("[[100, 0, 50]]")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "other.json").write_text(json.dumps({"q.png": [1, 2, 3, 4]}))
    (tmp_path / "outside.json").write_text(json.dumps({"p0.png": [90, 40, 80, 20]}))
    (tmp_path / "short.json").write_text(json.dumps({"p0.png": [90, 40]}))
    (tmp_path / "inverted.json").write_text(json.dumps({"p0.png": [50, 40, -20, 10]}))
    (tmp_path / "short.safetensors").write_bytes((100).to_bytes(8, "little") + b"{}")
    with zipfile.ZipFile(tmp_path / "evil.bin", "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps(Command("touch harmed"), protocol=2))
    (tmp_path / "bare.py").write_text("config = {}")
    (tmp_path / "typo.py").write_text("def get_config(:")
    return tmp_path
