"""Schemes by name."""

import pytest

from lvm_mtc import System, SystemConfig
from lvm_mtc.evaluation.schemes import make_schemes
from lvm_mtc.system import ScaleAware


def test_object_first_schemes_take_the_schedule_and_the_others_do_not():
    config = SystemConfig(variant="linear", image_size=32, patch_size=8, num_symbols=4, power_allocation=False)
    names = ("object", "uniform", "sharing", "all")
    constant = make_schemes(names, System(config), {}, mask_prob=0.3)
    aware = make_schemes(names, System(config), {}, mask_prob=0.3, scale_aware=True)
    assert [type(scheme.system) for scheme in constant] == [System] * 4
    assert [type(scheme.system) for scheme in aware] == [ScaleAware, System, ScaleAware, System]
    assert [one.system.config for one in aware] == [one.system.config for one in constant]
    with pytest.raises(ValueError, match=r"mask_prob must lie in \(0, 0.75\) with scale_aware.* got 0.8"):
        make_schemes(names, System(config), {}, mask_prob=0.8, scale_aware=True)
