"""Pictures sent as captions through ``lvm-mtc transmit --images --captioner``."""

import json
import shlex
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from lvm_mtc.cli import main
from lvm_mtc.models.weights import save_weights
from lvm_mtc.results.table import read_csv
from lvm_mtc.schemes.loading import identity
from lvm_mtc.schemes.vlm_csc.scheme import VlmCsc, VlmCscConfig

pytestmark = pytest.mark.usefixtures("fast_compile")

SCHEME = VlmCsc(VlmCscConfig(vocabulary=5, num_words=4, num_symbols=4, width=8, depth=1, num_heads=1, hidden=8,
                             noise_attention="none"))  # fmt: skip
OWN = """
import numpy as np
painted = []
def caption(images):
    assert images.shape[1:] == (224, 224, 3) and images.dtype == np.float32 and images.max() <= 1
    names = np.array(["a cat", "a red dog", "Xylophone"])
    return names[[2 if i.mean() < 0.1 else int(i[..., 0].mean() > 0.5) for i in images]].tolist()
def paint(texts, seed):
    painted.extend(texts)
    return np.full((len(texts), 8, 8, 3), 0.5, np.float32)
def broken(images): raise OSError("the service\\nis down")
def mute(images): return None
def strange(images): return ["quite"] * len(images)
"""
SEND = (
    "transmit --images pictures --weights text.npz --uavs 1 --channel awgn --realisations 2 --snr-db 0,20 --out out "
    "--generator own_painting:paint --captioner own_painting:"
)


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A folder with weights of few words, three pictures, and functions of somebody's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_painting", raising=False)
    rng, shapes = np.random.default_rng(0), jax.eval_shape(SCHEME.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.float32(rng.normal(size=leaf.shape)), shapes)
    save_weights("text.npz", params, identity(SCHEME) | {"data": {"words": ["a", "dog", "red", "cat"]}})
    (tmp_path / "own_painting.py").write_text(OWN)
    (tmp_path / "pictures").mkdir()
    for name, colour in {"1": (200, 20, 20), "2": (0, 0, 0), "3": (20, 200, 20)}.items():
        Image.new("RGB", (40, 30), colour).save(f"pictures/{name}.png")


@pytest.mark.slow
def test_pictures_are_captioned_sent_and_painted(pictures, capsys):
    assert main(shlex.split(f"{SEND}caption")) == 0
    out, err = capsys.readouterr()
    assert err == "" and "2 x 1 captions, 2 realisations" in out and "out/sheet.png" in out
    painted = sys.modules["own_painting"].painted
    assert len(painted) == 4 and all(len(text.split()) in (2, 3) for text in painted)
    rows = read_csv("out/table.csv")
    assert [row["snr_db"] for row in rows] == [0, 20] and rows[0]["num_captions"] == 2
    assert rows[0]["channel_uses"] == pytest.approx(4 * (3 + 2) / 2)
    assert json.load(open("out/lvm-mtc-result.json"))["command"]["captioner"] == "own_painting:caption"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (f"{SEND}broken", "own_painting:broken failed: OSError: the service is down"),
        (f"{SEND}mute", "own_painting:mute must give a list of 3 sentences, got None"),
        (f"{SEND}strange", "0 of 3 captions, such as 'quite', have only the 4 words that the weights know"),
        (f"{SEND}missing", "captioner 'own_painting:missing'"),
        (f"{SEND}caption".replace("own_painting:caption", "blip:nowhere"), "there is no folder or file nowhere"),
        (f"{SEND}caption --task dog", "--task is for pictures, and --images sends captions"),
        (
            "transmit --text t.txt --captioner learned --out out",
            "--captioner is for --images that are sent as captions",
        ),
    ],
)
def test_wrong_input_is_one_line(pictures, capsys, command, said):
    assert main(shlex.split(command)) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
