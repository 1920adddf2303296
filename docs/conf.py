"""Sphinx configuration of the site: `make docs`."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import site_pages  # noqa: E402

import lvm_mtc  # noqa: E402

project = "lvm_mtc"
author = "The lvm_mtc authors"
copyright = f"{author}, Apache-2.0"
version = release = lvm_mtc.__version__

# Kernels of notebooks read it: they import this package, wherever it is installed from.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 4
# A notebook runs anew in every build, in a folder of its own; what raises ends the build.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 900
nb_merge_streams = True
nb_render_markdown_format = "gfm"

# Docstrings say shapes and units, which types do not.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Source", "Returns", ("Attributes", "params_style")]
napoleon_attr_annotations = False
napoleon_preprocess_types = False

html_theme = "sphinx_book_theme"
html_title = "lvm_mtc"
html_theme_options = {
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,
    "navbar_persistent": [],
}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False


def setup(app):
    """Fills in the parts of pages that are made from others."""
    app.connect("source-read", lambda app, name, text: text.__setitem__(0, site_pages.complete(name, text[0])))
    app.connect("autodoc-skip-member", site_pages.skip_member)
    app.connect("build-finished", lambda app, error: error or site_pages.write_front_report(Path(app.outdir)))
    app.connect("autodoc-process-docstring", site_pages.plain_docstring, priority=400)  # before napoleon
    return {"parallel_read_safe": True}
