"""``--config FILE.py:NAME`` hands NAME to ``get_config``; every other name is a file's."""

import json
from pathlib import Path

import pytest

from lvm_mtc.cli.errors import UsageError
from lvm_mtc.cli.train import read_config

ROOT = Path(__file__).resolve().parents[2]
RECIPES = json.loads((ROOT / "tests" / "golden" / "codec_configs.json").read_text())
FILE = "def get_config(name='none'):\n    return {'said': {'name': name}}\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "of.py").write_text(FILE)
    return tmp_path


def test_what_follows_the_colon_is_the_argument(folder):
    assert read_config(folder / "of.py:some", []) == {"said": {"name": "some"}}
    assert read_config(folder / "of.py", [("said.name", 3)]) == {"said": {"name": 3}}
    with pytest.raises(UsageError, match=r"none\.py: get_config\('some'\) failed"):
        (folder / "none.py").write_text("def get_config():\n    return {}\n")
        read_config(folder / "none.py:some", [])


def test_a_file_whose_name_has_a_colon_is_that_file(folder):
    (folder / "of.py:some").write_text(json.dumps({"said": {"name": "JSON"}}))
    assert read_config(folder / "of.py:some", []) == {"said": {"name": "JSON"}}
    (folder / "a:b.py").write_text(FILE)
    assert read_config(folder / "a:b.py", [])["said"]["name"] == "none"
    assert read_config(folder / "a:b.py:c", [])["said"]["name"] == "c"
    (folder / "a:b.json").write_text("{}")
    assert read_config(folder / "a:b.json", []) == {}
    with pytest.raises(FileNotFoundError, match="absent.py'"):
        read_config(folder / "absent.py:some", [])


@pytest.mark.parametrize("name", RECIPES)
def test_the_codecs_recipes_are_those_of_their_trainings(name):
    """The golden file has what stood in three files, with which codecs were trained, in the words of one recipe."""
    assert read_config(ROOT / f"experiments/configs/codecs.py:{name}", []) == RECIPES[name]


def test_an_unknown_codec_is_named():
    with pytest.raises(UsageError, match="'cifar10_vit'.*cifar10_token, .*cifar10_witt"):
        read_config(ROOT / "experiments/configs/codecs.py:cifar10_vit", [])
