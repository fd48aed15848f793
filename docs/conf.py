"""Settings of the documentation: ``sphinx-build docs docs/_build``."""

import skvae

project = "skvae"
author = "skvae developers"
version = release = skvae.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.intersphinx"]
myst_enable_extensions = ["dollarmath"]
intersphinx_mapping = {"sklearn": ("https://scikit-learn.org/stable", None)}
intersphinx_timeout = 5
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_preprocess_types = True
html_theme = "furo"
html_title = f"skvae {version}"
exclude_patterns = ["_build"]
