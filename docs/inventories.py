"""Links to the documentation of other projects, without a network.

Intersphinx reads which name stands on which page from inventories, usually fetched from each project at every build. The
inventories written here hold only the names that our pages link to, so a build gives the same result everywhere. To link
another name, add it to ``NAMES``.
"""

import zlib
from pathlib import Path

URLS = {
    "python": "https://docs.python.org/3",
    "numpy": "https://numpy.org/doc/stable",
    "pandas": "https://pandas.pydata.org/docs",
    "matplotlib": "https://matplotlib.org/stable",
    "sklearn": "https://scikit-learn.org/stable",
    "torch": "https://docs.pytorch.org/docs/stable",
}
# Project, role and page; the names stand for $.
NAMES = {
    ("python", "py:class", "library/stdtypes.html#$"): "dict list tuple str",
    ("numpy", "py:class", "reference/generated/$.html#$"): "numpy.ndarray",
    ("numpy", "py:function", "reference/generated/$.html#$"): "numpy.argsort numpy.linalg.norm numpy.linspace numpy.where",
    ("numpy", "py:function", "reference/random/generator.html#$"): "numpy.random.default_rng",
    ("pandas", "py:class", "reference/api/$.html#$"): "pandas.DataFrame pandas.Series",
    ("matplotlib", "py:function", "api/_as_gen/$.html#$"): "matplotlib.pyplot.subplots matplotlib.pyplot.subplot_mosaic",
    ("sklearn", "py:class", "modules/generated/$.html#$"): """
        sklearn.decomposition.FactorAnalysis
        sklearn.decomposition.PCA
        sklearn.ensemble.IsolationForest
        sklearn.impute.IterativeImputer
        sklearn.linear_model.LogisticRegression
        sklearn.model_selection.GridSearchCV
        sklearn.model_selection.StratifiedKFold
        sklearn.neighbors.LocalOutlierFactor
        sklearn.neighbors.NearestNeighbors
        sklearn.pipeline.Pipeline
        sklearn.preprocessing.StandardScaler
        """,
    ("sklearn", "py:function", "modules/generated/$.html#$"): """
        sklearn.datasets.load_digits
        sklearn.datasets.load_wine
        sklearn.metrics.pairwise_distances
        sklearn.metrics.r2_score
        sklearn.model_selection.cross_val_score
        sklearn.model_selection.train_test_split
        sklearn.pipeline.make_pipeline
        """,
    ("sklearn", "std:label", "modules/df_output_transform.html#df-output-transform"): "df_output_transform",
    (
        "sklearn",
        "std:label",
        "auto_examples/miscellaneous/plot_set_output.html#sphx-glr-auto-examples-miscellaneous-plot-set-output-py",
    ): "sphx_glr_auto_examples_miscellaneous_plot_set_output.py",
    ("torch", "py:class", "generated/$.html#$"): "torch.nn.Module",
    ("torch", "py:class", "tensors.html#$"): "torch.Tensor",
}


def write(folder: Path) -> dict[str, tuple[str, str]]:
    """Write one inventory per project; what they are to ``intersphinx_mapping``."""
    folder.mkdir(parents=True, exist_ok=True)
    for project in URLS:
        lines = [
            f"{name} {role} 1 {page.replace('$', name)} -\n"
            for (owner, role, page), names in NAMES.items()
            if owner == project
            for name in names.split()
        ]
        head = ["Sphinx inventory version 2", f"Project: {project}", "Version: ", "The rest is compressed by zlib."]
        text = "".join(f"# {line}\n" for line in head).encode()
        (folder / f"{project}.inv").write_bytes(text + zlib.compress("".join(lines).encode()))
    return {project: (url, str(folder / f"{project}.inv")) for project, url in URLS.items()}
