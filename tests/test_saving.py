"""Estimators in files of skops, pickle and joblib."""

import copy
import datetime as dt
import decimal
import json
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import skops.io
import torch

import skvae
from skvae import TRUSTED_TYPES, AutoencoderTransformer
from skvae._saving.plain import BY_TYPE, FORMS, packed, unpacked
from tests.saved_models import FITTED, X, ae, are_same, damaged, detector, frame, outcome, outputs, polars, stream

RELEASES = sorted((Path(__file__).parent / "saved").glob("*.skops"))
WRITE = {
    "skops": skops.io.dump,
    "pickle": lambda model, path: path.write_bytes(pickle.dumps(model)),
    "joblib": joblib.dump,
}
OPEN_ELSEWHERE = """
import pickle, sys, joblib, skops.io
from pathlib import Path
from skvae import TRUSTED_TYPES
from tests.saved_models import FITTED, outputs


def of_sklearn(path):
    return [kind for kind in skops.io.get_untrusted_types(file=path) if kind.startswith("sklearn.")]

OPEN = {
    "skops": lambda path: skops.io.load(path, trusted=[*TRUSTED_TYPES, *of_sklearn(path)]),
    "pickle": lambda path: pickle.loads(path.read_bytes()),
    "joblib": joblib.load,
}
folder = Path(sys.argv[1])
found = {}
for name, (_, table) in FITTED.items():
    for kind, read in OPEN.items():
        found[name, kind] = outputs(read(folder / f"{name}.{kind}"), table)
(folder / "found").write_bytes(pickle.dumps(found))
"""

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore:.*rare",
)


@pytest.fixture(scope="module")
def fitted():
    """The fitted estimators."""
    return {name: fit() for name, (fit, _) in FITTED.items()}


@pytest.fixture(scope="module")
def elsewhere(fitted, tmp_path_factory):
    """What the estimators say once they are opened in another process."""
    folder = tmp_path_factory.mktemp("saved")
    for name, model in fitted.items():
        for kind, write in WRITE.items():
            write(model, folder / f"{name}.{kind}")
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-W", "ignore", "-c", OPEN_ELSEWHERE, folder], check=True, cwd=root)
    return pickle.loads((folder / "found").read_bytes())


@pytest.mark.parametrize("name", FITTED)
def test_same_bits_in_another_process(name, fitted, elsewhere):
    here = outputs(fitted[name], FITTED[name][1])
    for kind in WRITE:
        assert are_same(elsewhere[name, kind], here), kind


@pytest.mark.parametrize("name", FITTED)
def test_files_hold_no_other_classes(name, fitted):
    untrusted = skops.io.get_untrusted_types(data=skops.io.dumps(fitted[name]))
    assert {kind for kind in untrusted if not kind.startswith("sklearn.")} <= set(TRUSTED_TYPES)


def test_trusted_types_are_what_they_are_called():
    for name in TRUSTED_TYPES:
        module, _, kind = name.rpartition(".")
        assert getattr(skvae, kind).__module__ == module


@pytest.mark.parametrize("name", FITTED)
def test_dumping_changes_nothing(name, fitted):
    model = fitted[name]
    before = dict(vars(model))
    for write in (skops.io.dumps, pickle.dumps, copy.deepcopy):
        write(model)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[key] is value for key, value in before.items())


def test_parameters_and_results_come_back_as_they_were(fitted):
    for name in ("Masking, L2", "two penalties", "vae", "detector, frame"):
        model = fitted[name]
        opened = skops.io.loads(skops.io.dumps(model), trusted=TRUSTED_TYPES)
        assert opened.get_params() == model.get_params()
        assert vars(opened).keys() == vars(model).keys()
    assert opened.feature_names_in_.dtype == object


def test_schema_comes_back_with_its_dtypes(fitted):
    for name in ("vae, zoned dates", "frame of polars", "dtypes of Arrow"):
        schema = fitted[name].schema_
        opened = pickle.loads(pickle.dumps(fitted[name])).schema_
        assert repr(opened) == repr(schema)
        assert [column.dtype for column in opened.columns] == [column.dtype for column in schema.columns]
        assert opened.axis_dtype == schema.axis_dtype


def test_a_stream_goes_on_from_a_file():
    model = stream(ae(), X)
    opened = skops.io.loads(skops.io.dumps(model), trusted=TRUSTED_TYPES)
    np.testing.assert_array_equal(opened.partial_fit(X[:50]).transform(X), model.partial_fit(X[:50]).transform(X))


@pytest.mark.parametrize("table", [X, frame("Asia/Tokyo"), polars()], ids=["array", "pandas", "polars"])
def test_a_detector_of_a_stream_goes_on_from_a_file(table):
    model = detector().partial_fit(table)
    opened = skops.io.loads(skops.io.dumps(model), trusted=TRUSTED_TYPES)
    first, second = (each.partial_fit(table[:90]).score_samples(table) for each in (model, opened))
    np.testing.assert_array_equal(first, second)


def test_unfitted_estimators_are_saved():
    model = ae(categorical_features=[True, False], device="cpu")
    opened = skops.io.loads(skops.io.dumps(model), trusted=TRUSTED_TYPES)
    assert opened.get_params() == model.get_params()
    assert not hasattr(opened, "module_")


def test_estimators_that_hold_callers_own_objects_are_pickled():
    class Foreign:
        pass

    state = AutoencoderTransformer(random_state=Foreign()).__getstate__()
    assert any(isinstance(other, Foreign) for other in state["others"])


def test_state_is_plain(fitted):
    for model in (fitted["linear"], fitted["detector, frame"]):
        state = model.__getstate__()
        assert {type(other) for other in state["others"]} <= {np.ndarray}
        json.loads(state["text"])


def test_file_is_about_as_small_as_its_arrays(fitted):
    model = fitted["linear"]
    wide = ae(hidden_layer_sizes=(256,)).fit(X)
    n_bytes = sum(p.numel() * p.element_size() for p in wide.module_.parameters())
    assert len(skops.io.dumps(wide)) - len(skops.io.dumps(model)) < 1.5 * n_bytes


@pytest.mark.parametrize(
    "value",
    [
        decimal.Decimal("1.10"),
        dt.date(2024, 2, 29),
        dt.datetime(2024, 2, 29, 1, 2, 3, 4),
        dt.datetime(2024, 2, 29, tzinfo=dt.UTC),
        dt.time(1, 2),
        dt.timedelta(days=-1, microseconds=3),
        pd.Timestamp("2024-02-29 01:02:03.000000004"),
        pd.Timestamp("2024-02-29", tz="America/New_York"),
        pd.Timestamp("1816-01-01").as_unit("s"),
        pd.Timestamp("2024-02-29", tz=dt.timezone(dt.timedelta(hours=5))),
        pd.Timedelta("-1 days 3ns"),
        pd.Interval(0.5, 1.5, closed="left"),
        pd.Period("2024Q1"),
        b"\x00\xff",
        "a\ud800 lone surrogate",
        float("inf"),
        -0.0,
        2**80,
        ("x", (1, None), 2.5),
        frozenset({"b", "a"}),
        {1: "one", None: [1, 2], ("a", 1): {"is": "of"}},
        torch.device("cpu"),
        np.dtype("f4"),
        np.dtype("M8[us]"),
        np.dtype(object),
        pd.Int32Dtype(),
        pd.StringDtype("python"),
        pd.Series(["a"], dtype="str" if pd.__version__ >= "3" else "string").dtype,
        pd.CategoricalDtype(),
        pd.CategoricalDtype(["b", "a"], ordered=True),
        pd.CategoricalDtype(pd.to_datetime(["2024-01-01"])),
        pd.CategoricalDtype(pd.interval_range(0, 3)),
        pd.DatetimeTZDtype("us", "Europe/Berlin"),
        pd.DatetimeTZDtype("ns", dt.timezone(dt.timedelta(hours=-3))),
        pd.PeriodDtype("M"),
        pd.IntervalDtype("int64", closed="both"),
        pl.Datetime("ms", "UTC"),
        pl.Enum(["b", "a"]),
        pl.Decimal(10, 2),
        pl.List(pl.Int8),
    ],
    ids=lambda value: "set" if isinstance(value, frozenset) else repr(value),  # their order is another in each process
)
def test_what_tables_hold_comes_back(value):
    opened = unpacked(packed(value))
    assert type(opened) is type(value)
    assert opened == value
    assert isinstance(value, frozenset) or repr(opened) == repr(value)  # sets have no order


@pytest.mark.parametrize("name", ["timestamp[us, tz=UTC]", "decimal128(10, 2)", "dictionary<values=string, indices=int32>"])
def test_dtypes_of_arrow_come_back(name):
    pa = pytest.importorskip("pyarrow")
    kinds = {"t": pa.timestamp("us", "UTC"), "d": pa.decimal128(10, 2)}
    dtype = pd.ArrowDtype(kinds.get(name[0]) if not name.startswith("dict") else pa.dictionary(pa.int32(), pa.string()))
    assert unpacked(packed(dtype)) == dtype


@pytest.mark.parametrize("value", [pd.NA, pd.NaT])
def test_missing_cells_come_back(value):
    assert unpacked(packed(value)) is value


def test_nan_comes_back():
    assert np.isnan(unpacked(packed([float("nan")]))[0])


def test_every_class_has_a_name_of_its_own():
    assert len({form.name for form in BY_TYPE.values()}) == len(BY_TYPE)
    assert set(FORMS) >= {"Fitted", "Schema", "Column", "Marginal", "Gaussian", "Mixed", "Network", "TopK", "Masking", "L1"}


def test_parameters_lie_in_memory_of_torch(fitted):
    """Products of matrices round by the alignment of their memory."""
    opened = pickle.loads(pickle.dumps(fitted["linear"]))
    assert all(p.data_ptr() % 64 == 0 for p in opened.module_.parameters())


# Files that cannot be opened


def changed(model, name, change):
    """The state of a model of which one array has been changed."""
    broken = copy.deepcopy(model)
    tensor = broken.module_.get_parameter(name)
    tensor.data = change(tensor.data)
    return broken.__getstate__()


@pytest.mark.parametrize("name", ["encoder.hidden.0.weight", "encoder.path", "decoder.out.bias"])
def test_first_array_that_does_not_fit_is_named(fitted, name):
    model = fitted["holes, DiffusionNoise"]
    state = changed(model, name, lambda values: values[:-1])
    with pytest.raises(ValueError, match=rf"inconsistent.*{name} has shape .* is required"):
        copy.copy(model).__setstate__(state)


def test_columns_that_do_not_fit_are_named(fitted):
    state = fitted["linear"].__getstate__()
    state["others"] = [other[:-1] if other.shape == (6,) and other.dtype == bool else other for other in state["others"]]
    with pytest.raises(ValueError, match="is_number has shape \\(5,\\), but \\(6,\\) is required"):
        ae().__setstate__(state)


def test_a_later_format_is_refused(fitted):
    with pytest.raises(ValueError, match=r"saved in format 99.*Open it with the version that saved it"):
        ae().__setstate__(fitted["linear"].__getstate__() | {"format": 99})


@pytest.mark.parametrize("name", ["linear", "detector, frame"])
def test_damaged_files_are_refused_or_harmless(name, fitted):
    model, table = fitted[name], FITTED[name][1]
    content, expected = skops.io.dumps(model), outputs(fitted[name], table)
    for kind, other in damaged(content, 60, np.random.default_rng(7)):
        assert not outcome(other, table, expected).startswith("SILENTLY"), kind


# Files of earlier releases


@pytest.mark.parametrize("path", RELEASES, ids=str)
def test_files_of_releases_open(path):
    """Each holds fitted estimators, the tables that they were asked about and what they said then."""
    saved = skops.io.load(path, trusted=TRUSTED_TYPES)
    assert saved
    for name, (model, said) in saved.items():
        found = outputs(model, FITTED[name][1])
        for method, expected in said.items():
            atol = 3 / len(X) if method == "p_values" else 1e-3  # which are ranks
            np.testing.assert_allclose(found[method], expected, rtol=1e-3, atol=atol, err_msg=f"{name}, {method}")
