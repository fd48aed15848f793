"""The layers: who may import whom."""

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import skvae

PACKAGE = Path(skvae.__file__).parent
LEAVES = {"inputs", "networks", "likelihoods", "corruptions", "bottlenecks", "penalties"}
SUM = {"model", "objective"}
ENGINE = {"batches", "members", "training", "optimizer", "stopping", "graphs", "inference", "device", "ranks"}
STANDARD_LIBRARY = sys.stdlib_module_names


@dataclass(frozen=True)
class Import:
    """One imported name, dotted in full."""

    name: str
    line: int
    in_function: bool

    def of(self, *modules: str) -> bool:
        return any(f"{self.name}.".startswith(f"{module}.") for module in modules)

    @property
    def is_private_sklearn(self) -> bool:
        return self.of("sklearn") and any(part.startswith("_") for part in self.name.split("."))

    @property
    def private_names(self) -> list[str]:
        """Parts of the name, below the package, that start with an underscore and are no module."""
        parts = self.name.split(".")[1:]
        return [
            part
            for i, part in enumerate(parts)
            if part.startswith("_") and not part.startswith("__") and not _is_module(parts[: i + 1])
        ]


def imports(tree: ast.AST, in_function: bool = False) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, in_function) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield from (Import(f"{origin}.{alias.name}", node.lineno, in_function) for alias in node.names)
        else:
            yield from imports(node, in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))


def _is_module(parts: list[str]) -> bool:
    path = PACKAGE.joinpath(*parts)
    return path.is_dir() or path.with_suffix(".py").exists()


def in_core(*stems: str) -> Callable[[str], bool]:
    return lambda file: file in {f"core/{stem}.py" for stem in stems}


def in_room(*names: str) -> Callable[[str], bool]:
    return lambda file: file.startswith(tuple(f"{name}/" for name in names)) or file in {f"{name}.py" for name in names}


def ours(*rooms: str) -> tuple[str, ...]:
    return tuple(f"skvae.{room}" for room in rooms)


ESTIMATORS = ("_autoencoder", "_vae", "_imputer", "_anomaly", "_base")
ABOVE_FIT = (*ESTIMATORS, "_callbacks", "_reports", "_fitted", "_detector", "_parameters", "_validation", "_display")
BELOW_SAVING = ("_saving", "_detector", "_fitted", "_principal", "_fit", "_tables", "core")

ROOMS = ("core", *(path.stem for path in PACKAGE.glob("_*")))

# (the rule, the files that it binds, the imports that break it)
RULES: list[tuple[str, Callable[[str], bool], Callable[[Import], bool]]] = [
    (
        "imports are absolute",
        lambda file: True,
        lambda i: i.name.startswith("."),
    ),
    (
        "core imports torch, the standard library and skvae.core only",
        in_room("core"),
        lambda i: not i.of("torch", "skvae.core", *STANDARD_LIBRARY),
    ),
    (
        "a leaf of core imports nothing of skvae",
        in_core(*LEAVES),
        lambda i: i.of("skvae"),
    ),
    (
        "model and objective do not import the engine",
        in_core(*SUM),
        lambda i: i.of(*(f"skvae.core.{stem}" for stem in ENGINE)),
    ),
    (
        "_warnings imports the standard library only",
        in_room("_warnings"),
        lambda i: not i.of(*STANDARD_LIBRARY),
    ),
    (
        "_tables imports no torch, no sklearn, and of skvae itself and _warnings",
        in_room("_tables"),
        lambda i: i.of("torch", "sklearn") or (i.of("skvae") and not i.of(*ours("_tables", "_warnings"))),
    ),
    (
        "_fit imports no sklearn, no pandas, and of skvae itself, _tables and core",
        in_room("_fit"),
        lambda i: i.of("sklearn", "pandas") or (i.of("skvae") and not i.of(*ours("_fit", "_tables", "core"))),
    ),
    (
        "_fitted and _tensors import no sklearn, and of skvae core, _tables, _warnings and themselves",
        in_room("_fitted", "_tensors"),
        lambda i: i.of("sklearn") or (i.of("skvae") and not i.of(*ours("core", "_tables", "_warnings", "_tensors"))),
    ),
    (
        "_detector imports no sklearn, no pandas, and of skvae itself, _fitted, _tables, core",
        in_room("_detector"),
        lambda i: i.of("sklearn", "pandas") or (i.of("skvae") and not i.of(*ours("_detector", "_fitted", "_tables", "core"))),
    ),
    (
        "_principal imports no sklearn, and of skvae _fitted, _fit and _tables",
        in_room("_principal"),
        lambda i: i.of("sklearn") or (i.of("skvae") and not i.of(*ours("_fitted", "_fit", "_tables"))),
    ),
    (
        "_saving imports no sklearn, and of skvae itself and what it saves",
        in_room("_saving"),
        lambda i: i.of("sklearn") or (i.of("skvae") and not i.of(*ours(*BELOW_SAVING))),
    ),
    (
        "_callbacks and _reports import of skvae _fit, core, _validation and _warnings",
        in_room("_callbacks", "_reports"),
        lambda i: i.of("skvae") and not i.of(*ours("_fit", "core", "_validation", "_warnings")),
    ),
    (
        "only _callbacks imports sklearn.callback",
        lambda file: file != "_callbacks.py",
        lambda i: i.of("sklearn.callback"),
    ),
    (
        "only _validation imports sklearn's private names",
        lambda file: file != "_validation.py",
        lambda i: i.is_private_sklearn,
    ),
    (
        "above _fit nothing imports likelihoods and penalties, which _public may pass on",
        in_room(*ABOVE_FIT),
        lambda i: i.of("skvae.core.likelihoods", "skvae.core.penalties"),
    ),
    (
        "_html imports no torch, no sklearn, and of skvae itself, _display and _tables",
        in_room("_html"),
        lambda i: i.of("torch", "sklearn") or (i.of("skvae") and not i.of(*ours("_html", "_display", "_tables"))),
    ),
    (
        "_display imports no torch",
        in_room("_display"),
        lambda i: i.of("torch", "skvae.core"),
    ),
    (
        "matplotlib is imported inside functions",
        lambda file: True,
        lambda i: i.of("matplotlib") and not i.in_function,
    ),
    (
        "Dask is imported inside functions, by dask and _dask alone",
        lambda file: True,
        lambda i: i.of("dask", "distributed") and not i.in_function,
    ),
    (
        "only dask and _dask know of Dask, and only they import each other and distributed",
        lambda file: not in_room("dask", "_dask")(file),
        lambda i: i.of("dask", "distributed", *ours("dask", "_dask", "distributed")),
    ),
    (
        "onnx and skl2onnx are imported inside functions",
        lambda file: True,
        lambda i: i.of("onnx", "skl2onnx") and not i.in_function,
    ),
    (
        "only _export knows of onnx, and only _public of _export",
        lambda file: not in_room("_export", "_public")(file),
        lambda i: i.of("onnx", "skl2onnx", *ours("_export")),
    ),
    (
        "_export imports no sklearn, no pandas",
        in_room("_export"),
        lambda i: i.of("sklearn", "pandas"),
    ),
    (
        "the command line imports of skvae the public estimators, itself and _tables",
        in_room("_command"),
        lambda i: i.of("skvae") and i.of(*ours(*ROOMS)) and not i.of(*ours("_command", "_tables")),
    ),
    (
        "only __main__ imports the command line and the tour",
        lambda file: not in_room("_command", "__main__")(file),
        lambda i: i.of(*ours("_command", "_tour")),
    ),
    (
        "the command line imports the estimators inside functions",
        in_room("_command"),
        lambda i: i.of("torch", "sklearn") or (i.of("skvae") and not i.of(*ours("_command", "_tables")) and not i.in_function),
    ),
    (
        "no private name crosses files",
        lambda file: True,
        lambda i: i.of("skvae") and bool(i.private_names),
    ),
]


def breaches(file: str, source: str) -> list[str]:
    """Each breach in a file of the package, named by its path from there."""
    return [
        f"skvae/{file}:{i.line}: imports {i.name}, but {rule}"
        for i in imports(ast.parse(source))
        for rule, binds, breaks in RULES
        if binds(file) and breaks(i)
    ]


@pytest.mark.parametrize("file", [path.relative_to(PACKAGE).as_posix() for path in sorted(PACKAGE.rglob("*.py"))])
def test_layers(file: str) -> None:
    found = breaches(file, (PACKAGE / file).read_text(encoding="utf-8"))
    assert not found, "\n" + "\n".join(found)


def test_every_core_file_has_a_layer() -> None:
    assert {path.stem for path in (PACKAGE / "core").glob("*.py")} - LEAVES - SUM - ENGINE == {"__init__"}


@pytest.mark.parametrize(
    ("file", "line", "rule"),
    [
        ("_base.py", "from ._tables import rows", "absolute"),
        ("core/batches.py", "import numpy as np", "standard library"),
        ("core/training.py", "from skvae._tables.schema import Schema", "skvae.core only"),
        ("core/training.py", "from skvae import _fit", "skvae.core only"),
        ("core/penalties.py", "from skvae.core import networks", "leaf"),
        ("core/objective.py", "import skvae.core.training", "engine"),
        ("core/model.py", "from skvae.core import batches, objective", "engine"),
        ("_warnings.py", "import numpy as np", "standard library"),
        ("_tables/schema.py", "from torch import Tensor", "no torch"),
        ("_tables/rows.py", "from skvae.core.model import Autoencoder", "_tables imports"),
        ("_tables/rows.py", "from sklearn.decomposition import PCA", "no sklearn"),
        ("_tables/rows.py", "from skvae._fit.pca import principal_components", "_tables imports"),
        ("_fit/pca.py", "import pandas as pd", "no pandas"),
        ("_fit/linear_gaussian.py", "from sklearn.decomposition import FactorAnalysis", "no sklearn"),
        ("_fit/fit.py", "from skvae._fitted import Fitted", "_fit imports"),
        ("_fitted.py", "import sklearn.base", "no sklearn"),
        ("_fitted.py", "from skvae._fit.fit import fit_rows", "_fitted and _tensors import"),
        ("_detector/ranks.py", "from skvae._fit.fit import fit_rows", "_detector imports"),
        ("_detector/neighbours.py", "from sklearn.neighbors import NearestNeighbors", "_detector imports"),
        ("_detector/oddness.py", "import pandas as pd", "_detector imports"),
        ("_detector/oddness.py", "from skvae.core.likelihoods import Gaussian", "nothing imports"),
        ("_saving/plain.py", "from sklearn.base import BaseEstimator", "_saving imports"),
        ("_saving/plain.py", "from skvae._base import BaseAutoencoder", "_saving imports"),
        ("_base.py", "from sklearn.utils._param_validation import Interval", "private names"),
        ("_base.py", "def fit():\n    from sklearn.base import _fit_context", "private names"),
        ("_base.py", "from skvae.core import likelihoods", "nothing imports"),
        ("_base.py", "from sklearn.callback import CallbackSupportMixin", "only _callbacks"),
        ("_callbacks.py", "from skvae._base import BaseAutoencoder", "_callbacks and _reports import"),
        ("_reports.py", "from skvae._tables.rows import Table", "_callbacks and _reports import"),
        ("_vae.py", "from skvae.core.penalties import L1", "nothing imports"),
        ("_html/page.py", "from skvae._anomaly import AEAnomalyDetector", "_html imports"),
        ("_display/samples.py", "import torch.nn", "no torch"),
        ("_display/samples.py", "import matplotlib.pyplot as plt", "inside functions"),
        ("_base.py", "if True:\n    from matplotlib import pyplot", "inside functions"),
        ("_dask/cluster.py", "import distributed", "inside functions"),
        ("_base.py", "def fit():\n    from dask import delayed", "know of Dask"),
        ("_streams.py", "from skvae._dask.collections import is_collection", "know of Dask"),
        ("_export/graph.py", "import onnx", "inside functions"),
        ("_base.py", "def fit():\n    from onnx import helper", "knows of onnx"),
        ("_anomaly.py", "from skvae._export.graph import Graph", "knows of onnx"),
        ("_export/tables.py", "import pandas as pd", "_export imports"),
        ("_command/detect.py", "def run():\n    from skvae._anomaly import AEAnomalyDetector", "public estimators"),
        ("_command/detect.py", "from skvae import AEAnomalyDetector", "inside functions"),
        ("_base.py", "from skvae._command.program import main", "only __main__"),
        ("_anomaly.py", "from skvae._detector.oddness import _total", "crosses files"),
        ("_fit/starts.py", "from skvae._fit.pieces import _of_numbers", "crosses files"),
    ],
)
def test_a_breach_is_found(file: str, line: str, rule: str) -> None:
    (breach,) = breaches(file, f"import math\n{line}\n")
    n_before = line.count("\n")
    assert breach.startswith(f"skvae/{file}:{2 + n_before}: imports ")
    assert rule in breach


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("core/graphs.py", "from torch.utils._python_dispatch import TorchDispatchMode"),
        ("core/training.py", "from skvae.core import batches"),
        ("core/objective.py", "from skvae.core.model import Autoencoder"),
        ("_fit/pieces.py", "from skvae.core.likelihoods import Gaussian"),
        ("_validation.py", "from sklearn.utils._param_validation import Interval"),
        ("_display/drawing.py", "def axes():\n    import matplotlib.pyplot as plt"),
        ("_display/drawing.py", "import matplotlib_inline"),
        ("_base.py", "from skvae._fit.fit import fit_rows"),
        ("_callbacks.py", "from sklearn.callback import CallbackSupportMixin"),
        ("_dask/ranks.py", "from skvae.distributed import fit"),
        ("_dask/ranks.py", "def here():\n    from distributed import get_worker"),
        ("_detector/oddness.py", "from scipy.stats import mode"),
        ("_detector/oddness.py", "from skvae._fitted import Fitted"),
        ("_export/onnx_models.py", "def model():\n    from onnx import helper"),
        ("_export/likelihoods.py", "from skvae.core.likelihoods import Gaussian"),
        ("_command/detect.py", "def run():\n    from skvae import AEAnomalyDetector"),
        ("_command/tables.py", "from skvae._tables.schema import Schema"),
        ("__main__.py", "from skvae._command.program import main"),
        ("_public.py", "from skvae._export.onnx_models import to_onnx"),
    ],
)
def test_what_is_allowed_is_no_breach(file: str, line: str) -> None:
    assert breaches(file, line) == []
