"""The benchmarks run, print a table and write their files."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
if not BENCHMARKS.exists():
    pytest.skip("the source distribution comes without the benchmarks", allow_module_level=True)

NAMES = [
    "anomaly",
    "callbacks",
    "cluster",
    "codes",
    "command",
    "compare",
    "denoising",
    "export",
    "fit",
    "frames",
    "gpu",
    "imputation",
    "likelihood",
    "mnist",
    "p_values",
    "pca_equivalence",
    "planted_errors",
    "reconstruction",
    "scale",
    "step",
    "time_to_error",
    "vae_mnist",
]
BY_HAND_ALONE = ["lost_workers"]  # its processes take half a minute to start; tests/test_dask_lost_workers.py has what counts
SMALL = {  # what makes a smoke test take seconds: constants of a script, and their values here
    "step": {"BATCH_SIZES": (32,), "BATCH_SIZES_BY_HAND": (32,), "N_BATCHES": 2, "WARM_UP": 1},
    "fit": {"GRID": {"n_components": [2, 4]}},
}
SOURCES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(BENCHMARKS.glob("*.py"))}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),  # there are only a few epochs
]


@pytest.fixture
def benchmarks(monkeypatch):
    """The scripts can be imported, and no script that was imported stays."""
    monkeypatch.delenv("SKVAE_DATA", raising=False)
    monkeypatch.syspath_prepend(BENCHMARKS)
    for name in SOURCES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield
    for name in SOURCES:
        sys.modules.pop(name, None)


def test_every_script_is_tested():
    assert [name for name, source in SOURCES.items() if "def main(" in source] == sorted(NAMES + BY_HAND_ALONE)


def test_every_script_is_in_the_readme():
    readme = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    assert [name for name in NAMES + BY_HAND_ALONE if f"benchmarks/{name}.py" not in readme] == []


@pytest.mark.uses_global_rng  # by the rivals
@pytest.mark.usefixtures("benchmarks")
@pytest.mark.parametrize("name", NAMES)
def test_script_runs(name, monkeypatch, tmp_path, capsys):
    rows, figure = tmp_path / "rows.jsonl", tmp_path / "figure.png"
    draws = '"--figure"' in SOURCES[name]
    monkeypatch.setattr(sys, "argv", [name, "--smoke", "--json", str(rows), *(["--figure", str(figure)] if draws else [])])
    script = importlib.import_module(name)
    for constant, value in SMALL.get(name, {}).items():
        monkeypatch.setattr(script, constant, value)
    script.main()
    assert re.search(r"^\| .* \|\n\| -+ \|", capsys.readouterr().out, re.MULTILINE)
    assert all(json.loads(line) for line in rows.read_text().splitlines())
    assert not draws or figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("benchmarks")
def test_a_comparison_of_versions_imports_neither(monkeypatch):
    for name in list(sys.modules):
        if name.partition(".")[0] == "skvae":
            monkeypatch.delitem(sys.modules, name)
    importlib.import_module("compare")
    assert "skvae" not in sys.modules


@pytest.mark.usefixtures("benchmarks")
def test_what_is_asked_for_comes_before_smoke():
    parser = importlib.import_module("report").parser("", splits=1, seeds=lambda: 2)
    for name in ("--splits", "--seeds"):
        parser.add_argument(name, type=int, default=5)
    for given, expected in (([], (5, 5)), (["--smoke"], (1, 2)), (["--seeds", "5", "--smoke"], (1, 5))):
        args = parser.parse_args(given)
        assert (args.splits, args.seeds) == expected


@pytest.mark.usefixtures("benchmarks")
@pytest.mark.parametrize("init", ["random", "pca"])
@pytest.mark.parametrize("name", ["plain", "GaussianNoise", "VAE"])
def test_loops_by_hand_have_the_loss_and_the_gradients_of_the_package(name, init):
    step, engine = importlib.import_module("step"), importlib.import_module("engine")
    X = torch.randn(32, 30, generator=torch.Generator().manual_seed(0))
    estimator = step.estimator(name, batch_size=32, init=init)
    model, objective = engine.model_of(estimator, X), engine.run_of(estimator, X).objective
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, -0.3, 0.3, generator=generator)
    for buffer in (model.encoder.limit, model.encoder.unit, model.decoder.unit):
        if buffer is not None:
            buffer.uniform_(0.5, 2.0, generator=generator)
    loop = step.BY_HAND[name](model, X, 32)
    with torch.no_grad():
        loss = loop.step()
    expected = objective.loss(model, X, None, 1.0, torch.Generator().manual_seed(0))
    expected.backward()
    torch.testing.assert_close(loss, expected.item(), rtol=1e-5, atol=0)
    for parameter in model.parameters():
        parameter.data = parameter if parameter.grad is None else parameter.grad
    for key, gradient in loop.weights_of(model).items():
        torch.testing.assert_close(loop.gradients[key], gradient, rtol=1e-4, atol=1e-5, msg=key)
