"""The report on the site's front page, in a browser: every scheme of the store shows what arrived."""

import itertools
import sys
from pathlib import Path

import pytest
from browser import Browser, find_chromium

from lvm_mtc.results.store import ResultStore
from lvm_mtc.sweep.paired import find_sweep

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the report alone, made as the site makes it."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        import site_pages

        site_pages.write_front_report(folder)
        sys.modules.pop("site_pages")
    return folder


@pytest.fixture(scope="module")
def schemes():
    with ResultStore(DOCS / "front" / "front.sqlite", create=False) as store:
        return list(find_sweep(store, "photographs").config["schemes"])


def test_every_named_codec_with_weights_stands_in_the_store(schemes):
    shipped = {"progressive", "context_vq", "token2_cifar10_cbr_1_3", "menu_cbr_1_3", "deepjscc_cifar10_cbr_1_3"}
    assert shipped | {"importance, object first", "every patch kept"} < set(schemes) and len(schemes) == 11


@pytest.mark.slow
def test_it_is_driven_through_every_scheme_and_channel(site, schemes, tmp_path):
    if (program := find_chromium()) is None:
        pytest.skip("no chromium on this machine")
    address = (site / "front.html").as_uri()
    with Browser(program, tmp_path / "profile", address) as page:
        seen = set()
        for scheme, channel, snr in itertools.product(schemes, ("awgn", "rayleigh"), (0, 2)):
            page.choose(scheme=scheme, channel=channel, snr=snr)
            assert page.evaluate("document.getElementById('point').textContent").startswith("Over all pictures")
            assert not page.evaluate("document.getElementById('received-0').hidden")
            seen.add(page.evaluate("document.getElementById('received-0').src"))
        assert len(seen) == 4 * len(schemes)
        page.wait("[...document.images].every(image => image.complete)")
        assert page.evaluate("[...document.images].every(image => image.hidden || image.naturalWidth > 0)")
        assert page.complaints == [] and page.requests == [address]
