"""Point clouds through ``lvm-mtc transmit --clouds``, ``sweep --clouds``, training, and bits beside a sweep."""

import json
import shlex

import jax
import numpy as np
import pytest

from lvm_mtc.cli import main
from lvm_mtc.cli.parser import build_parser
from lvm_mtc.cli.sweep import sweep_config
from lvm_mtc.cli.sweep_config import make_spec
from lvm_mtc.data.clouds import load_cloud
from lvm_mtc.data.octree import OctreeCode
from lvm_mtc.models.weights import save_weights
from lvm_mtc.report.study import CLOUD_METRICS
from lvm_mtc.results.table import read_csv
from lvm_mtc.schemes.loading import CLOUD_WEIGHTS, identity, load_scheme
from lvm_mtc.schemes.point_clouds.linear import LinearClouds, LinearCloudsConfig
from lvm_mtc.schemes.separation.clouds import CloudBits
from lvm_mtc.sweep.as_bits import measure_bits

pytestmark = pytest.mark.usefixtures("fast_compile")

SCHEME = LinearClouds(LinearCloudsConfig(num_points=32, num_symbols=24, features="points"))
SEND = "transmit --clouds shapes --weights clouds.npz --uavs 1 --channel awgn --realisations 2 --snr-db 5,20"
SWEEP = "sweep --clouds shapes --set weights=clouds.npz --channel awgn --units 2 --snr-db=-12,12 --uavs 1"


@pytest.fixture
def clouds(folder):
    """The common folder with weights for clouds of 32 points, and three clouds."""
    rng = np.random.default_rng(0)
    save_weights(folder / "clouds.npz", jax.device_get(SCHEME.init(jax.random.key(0))), identity(SCHEME))
    (folder / "shapes").mkdir()
    for number in range(3):
        np.savetxt(folder / "shapes" / f"s{number}.xyz", rng.normal(size=(32, 3)))
    (folder / "few.xyz").write_text("1 2 3\n4 5 6\n")
    return folder


def test_transmit_shows_what_arrived(clouds, capsys):
    assert main(shlex.split(f"{SEND} --out out")) == 0
    out, err = capsys.readouterr()
    assert err == "" and "3 x 1 clouds, 2 realisations" in out and "D1 PSNR" in out
    made = sorted(path.name for path in (clouds / "out").iterdir())
    assert made == ["curves.png", "lvm-mtc-result.json", "sheet.png", "table.csv", "turntable.html"]
    rows = read_csv(clouds / "out" / "table.csv")
    assert [row["snr_db"] for row in rows] == [5, 20] and rows[0]["d1_psnr_db"] < rows[1]["d1_psnr_db"]
    assert rows[0]["num_clouds"] == 3 and rows[0]["channel_uses"] == 24 and rows[0]["side_information_bits"] == 16
    record = json.loads((clouds / "out" / "lvm-mtc-result.json").read_text())
    assert record["systems"]["linear_clouds"]["features"] == "points" and "clouds are fixed" in record["intervals"]


def test_a_sweep_and_bits_beside_it(clouds):
    spec = make_spec(sweep_config(build_parser().parse_args(shlex.split(f"{SWEEP} --store s.sqlite"))))
    assert spec.metrics == CLOUD_METRICS and spec.stop_metric == "d1_psnr_db"
    data = spec.sources[1].data
    assert data.shape == (3, 1, 32, 3)
    np.testing.assert_array_equal(data[1, 0], load_cloud(clouds / "shapes" / "s1.xyz", 32))
    sender = CloudBits(OctreeCode(data[:, 0]), np.zeros((32, 3)), num_symbols=24, crc="CRC6")
    low, high = measure_bits(spec, sender, list(spec.coordinates()))
    told = [sender.source.decode(sender.source.encode(cloud, 24 - 6)) for cloud in data[:, 0]]
    wanted = [[((one[:, None] - two) ** 2).sum(-1).min(1).mean() for one, two in ((a, b), (b, a))]
              for a, b in zip(data[:, 0], told, strict=True)]  # fmt: skip
    np.testing.assert_array_equal(high.ledger.channel_uses(), 24)
    assert high.metrics["chamfer"].shape == (2, 3, 1)
    np.testing.assert_allclose(high.metrics["d1_psnr_db"][0, :, 0], 10 * np.log10(12 / np.max(wanted, 1)), atol=0.3)
    nothing = (data[:, 0] ** 2).sum(-1)
    np.testing.assert_allclose(low.metrics["chamfer"].max(), (nothing.mean(1) + nothing.min(1)).max(), rtol=1e-5)


def test_the_shipped_weights_say_what_they_are():
    scheme, params = load_scheme(CLOUD_WEIGHTS)
    assert scheme.modality == "points" and scheme.frames() == (1, 320) and scheme.config.modulator == "jsccm"
    assert CLOUD_WEIGHTS.stat().st_size < 2**20
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


# Command line -> words that its one line must hold.
WRONG = {
    f"{SEND} --out o --task dog": ["--task is for pictures", "--clouds sends clouds"],
    f"{SEND} --out o --text captions.txt": ["--text", "not allowed with", "--clouds"],
    "transmit --clouds shapes --weights small.npz --out o": ["small.npz", "'lvm_mtc' sends pictures"],
    "transmit --clouds few.xyz --weights clouds.npz --uavs 1 --out o": ["few.xyz", "has 2 points", "32 points"],
    "transmit --clouds shapes --weights clouds.npz --uavs 4 --out o": ["shapes", "3 clouds", "4 UAVs"],
    "transmit --clouds empty --weights clouds.npz --out o": ["empty", "holds no point cloud"],
    "transmit --clouds gone --weights clouds.npz --out o": ["gone", "does not exist"],
    f"{SWEEP} --store s.sqlite --images photos": ["SweepConfig.images is for pictures", "SweepConfig.clouds"],
    f"{SWEEP} --store s.sqlite --text t.txt": ["SweepConfig.clouds is for point clouds", "SweepConfig.text"],
}


@pytest.mark.parametrize("command", WRONG)
def test_wrong_input_is_one_line(clouds, capsys, command):
    assert main(shlex.split(command)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and not (clouds / "o").exists()
    for word in WRONG[command]:
        assert word in err
