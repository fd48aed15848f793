"""The package as it is installed and imported."""

import importlib.metadata
import tomllib
from pathlib import Path

import pytest

import skvae

ROOT = Path(__file__).parents[1]


def test_public_names_are_those_of_all() -> None:
    values = {name: getattr(skvae, name) for name in dir(skvae) if not name.startswith("_")}
    assert {name for name, value in values.items() if not isinstance(value, type(skvae))} == set(skvae.__all__)


def test_version_is_that_of_the_installed_package() -> None:
    try:
        installed = importlib.metadata.version("skvae")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("skvae is imported from its source, not installed")
    assert skvae.__version__ == installed


def test_type_hints_are_published() -> None:
    assert Path(skvae.__file__).with_name("py.typed").is_file()


def test_oldest_versions_tested_are_those_promised() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    promised = {*project["dependencies"], *project["optional-dependencies"]["test"]}
    pins = (ROOT / ".ci" / "constraints-oldest.txt").read_text(encoding="utf-8").splitlines()
    tested = {pin.replace("==", ">=") for pin in pins if not pin.startswith(("#", "torch==", "pyparsing=="))}
    assert tested == {floor for floor in promised if not floor.startswith("torch>")}


@pytest.mark.parametrize("name", ["AutoencoderTransformer", "VAETransformer", "AEAnomalyDetector", "AutoencoderImputer"])
def test_diagrams_link_to_the_reference(name: str) -> None:
    html = getattr(skvae, name)()._repr_html_()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"{project['urls']['Documentation']}api/skvae.{name}.html" in html


def test_reference_has_every_public_name() -> None:
    reference = (ROOT / "docs" / "api.md").read_text(encoding="utf-8").split()
    assert set(skvae.__all__) <= set(reference)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="'skvae' has no attribute 'PCA'"):
        skvae.PCA  # noqa: B018
