"""Settings of the documentation: ``sphinx-build docs docs/_build``.

Nothing is fetched from a network. ``-D plot_gallery=0`` does not run the gallery, which takes most of the time of a build.
"""

import inspect
import re
import sys
from pathlib import Path

from numpydoc.docscrape_sphinx import SphinxDocString

import skvae
import skvae.dask

HERE = Path(__file__).parent
sys.path.append(str(HERE))

import inventories  # noqa: E402

project = "skvae"
author = "skvae developers"
project_copyright = author
version = release = skvae.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery", "examples/index.rst"]
templates_path = ["_templates"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
copybutton_exclude = ".linenos, .gp, .go"  # prompts and results

smartquotes = False  # of the values of parameters, too

html_theme = "furo"
html_title = f"skvae {version}"
html_baseurl = "https://skvae.github.io/skvae/"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_copy_source = False
html_theme_options = {
    "source_repository": "https://github.com/skvae/skvae/",
    "source_branch": "main",
    "source_directory": "docs/",
    "top_of_page_buttons": [],  # many pages are generated and have no source to view
}
mathjax_path = "mathjax/tex-svg.js"  # the component of MathJax 3.2.2 that holds its fonts
mathjax3_config = {"options": {"enableMenu": False}}  # the menu loads other components

intersphinx_mapping = inventories.write(HERE / "_build" / "inventories")

# The reference: a page per public name
autosummary_generate = True
autodoc_typehints = "none"  # the docstrings have them
add_module_names = False
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False  # the template lists the methods
# numpydoc takes the texts of properties for those of attributes with the same name; ours say less than the class does.
SphinxDocString._process_param = lambda self, name, text, _: (f"**{name.strip()}**", text)

INHERITED = {"fit_transform", "get_feature_names_out", "set_output"}  # methods of scikit-learn that are listed
OF_COLLECTIONS = {  # methods that take collections of Dask
    *("fit", "to_local", "transform", "reconstruct", "reconstruction_error", "score_samples", "impute", "score"),
    *("decision_function", "predict", "p_values"),
}


def methods(kind: type) -> list[str]:
    """Names of the methods that the page of a class describes."""
    if hasattr(kind, "_fields"):  # a named tuple
        return [name for name, value in vars(kind).items() if isinstance(value, property)]
    found = inspect.getmembers(kind, inspect.isroutine)
    if kind.__module__ == "skvae.dask":
        return [name for name, _ in found if name in OF_COLLECTIONS]
    return [
        name
        for name, method in found
        if not name.startswith("_") and (name in INHERITED or method.__module__.startswith("skvae._"))
    ]


autosummary_context = {
    "methods_of": {
        f"{module.__name__}.{name}": methods(getattr(module, name))
        for module in (skvae, skvae.dask)
        for name in module.__all__
        if inspect.isclass(getattr(module, name))
    }
}

# The gallery: scripts in gallery, pages in examples
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "filename_pattern": r"\.py$",
    "doc_module": "skvae",
    "backreferences_dir": "examples/uses",
    "capture_repr": (),
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
    "download_all_examples": False,
    "within_subsection_order": "NumberOfCodeLinesSortKey",
}


def escape_shapes(app, what, name, obj, options, lines: list[str]) -> None:
    """Keep ``of shape (n_rows, n_features_in_)`` from being read as a link."""
    shapes = re.compile(r"of\s+shape\s+\([^)]*\)")
    text = shapes.sub(lambda shape: re.sub(r"_(?=\W)", r"\\_", shape[0]), "\n".join(lines))
    lines[:] = text.split("\n")


def setup(app) -> None:
    app.connect("autodoc-process-docstring", escape_shapes, priority=400)  # before numpydoc
