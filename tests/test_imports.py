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
ENGINE = {"batches", "training", "stopping", "graphs", "inference", "device"}
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


def imports(tree: ast.AST, in_function: bool = False) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, in_function) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield from (Import(f"{origin}.{alias.name}", node.lineno, in_function) for alias in node.names)
        else:
            yield from imports(node, in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))


def in_core(*stems: str) -> Callable[[str], bool]:
    return lambda file: file in {f"core/{stem}.py" for stem in stems}


# (the rule, the files that it binds, the imports that break it)
RULES: list[tuple[str, Callable[[str], bool], Callable[[Import], bool]]] = [
    (
        "imports are absolute",
        lambda file: True,
        lambda i: i.name.startswith("."),
    ),
    (
        "core imports torch, the standard library and skvae.core only",
        lambda file: file.startswith("core/"),
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
        "_schema, _statistics, _encoding and _linear_gaussian import no torch",
        lambda file: file in {"_schema.py", "_statistics.py", "_encoding.py", "_linear_gaussian.py"},
        lambda i: i.of("torch", "skvae.core"),
    ),
    (
        "_assemble, _statistics, _encoding and _linear_gaussian import no sklearn",
        lambda file: file in {"_assemble.py", "_statistics.py", "_encoding.py", "_linear_gaussian.py"},
        lambda i: i.of("sklearn"),
    ),
    (
        "only _validation imports sklearn's private names",
        lambda file: file != "_validation.py",
        lambda i: i.is_private_sklearn,
    ),
    (
        "above core only _assemble imports likelihoods and penalties, which __init__ may pass on",
        lambda file: not file.startswith("core/") and file not in {"_assemble.py", "__init__.py"},
        lambda i: i.of("skvae.core.likelihoods", "skvae.core.penalties"),
    ),
    (
        "_plot imports no torch",
        lambda file: file == "_plot.py",
        lambda i: i.of("torch", "skvae.core"),
    ),
    (
        "matplotlib is imported inside functions",
        lambda file: True,
        lambda i: i.of("matplotlib") and not i.in_function,
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
        ("_base.py", "from ._schema import Schema", "absolute"),
        ("core/batches.py", "import numpy as np", "standard library"),
        ("core/training.py", "from skvae._schema import Schema", "skvae.core only"),
        ("core/training.py", "from skvae import _schema", "skvae.core only"),
        ("core/penalties.py", "from skvae.core.networks import Network", "leaf"),
        ("core/penalties.py", "from skvae.core import networks", "leaf"),
        ("core/inputs.py", "from skvae.core.likelihoods import Mixed", "leaf"),
        ("core/objective.py", "import skvae.core.training", "engine"),
        ("core/model.py", "from skvae.core import batches, objective", "engine"),
        ("_schema.py", "from torch import Tensor", "no torch"),
        ("_statistics.py", "from skvae.core.model import Autoencoder", "no torch"),
        ("_statistics.py", "from sklearn.decomposition import PCA", "no sklearn"),
        ("_encoding.py", "import torch", "no torch"),
        ("_linear_gaussian.py", "from sklearn.decomposition import FactorAnalysis", "no sklearn"),
        ("_assemble.py", "import sklearn.base", "no sklearn"),
        ("_base.py", "from sklearn.utils._param_validation import Interval", "private"),
        ("_base.py", "from sklearn.base import clone, _fit_context", "private"),
        ("_base.py", "from skvae.core import likelihoods", "only _assemble"),
        ("_vae.py", "from skvae.core.penalties import L1", "only _assemble"),
        ("_plot.py", "import torch.nn", "no torch"),
        ("_plot.py", "import matplotlib.pyplot as plt", "inside functions"),
        ("_base.py", "if True:\n    from matplotlib import pyplot", "inside functions"),
        ("_base.py", "def fit():\n    from sklearn.base import _fit_context", "private"),
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
        ("_assemble.py", "from skvae.core.likelihoods import Gaussian"),
        ("_validation.py", "from sklearn.utils._param_validation import Interval"),
        ("_plot.py", "def plot():\n    import matplotlib.pyplot as plt"),
        ("_plot.py", "import matplotlib_inline"),
    ],
)
def test_what_is_allowed_is_no_breach(file: str, line: str) -> None:
    assert breaches(file, line) == []
