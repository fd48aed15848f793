"""The same parameter has the same text in every class of a family."""

import inspect

import pytest
from sklearn.utils._testing import assert_docstring_consistency

import skvae
from skvae import L1, L2, AutoencoderTransformer, Contractive, Masking, SaltAndPepper, SwapNoise, VAETransformer

pytest.importorskip("numpydoc", reason="reads the docstrings")
from numpydoc.validate import validate

OF_TRANSFORMERS = {  # the others say what a posterior changes
    "include_params": [
        "decoder_layer_sizes",
        "standardize",
        "categorical_features",
        "handle_unknown",
        "support_fraction",
        "weight_decay",
        "learning_rate",
        "batch_size",
        "tol",
        "validation_fraction",
        "n_iter_no_change",
        "shuffle",
        "warm_start",
        "verbose",
        "device",
    ],
    "include_attrs": ["penalties_", "n_iter_", "best_iter_", "schema_", "device_"],
}
FAMILIES = {
    "transformers": ([AutoencoderTransformer, VAETransformer], OF_TRANSFORMERS),
    "corruptions": ([Masking, SaltAndPepper, SwapNoise], {"include_params": ["level"]}),
    "penalties": ([L1, L2, Contractive], {"include_params": ["weight"]}),
}


@pytest.mark.parametrize(("classes", "items"), FAMILIES.values(), ids=FAMILIES)
def test_families(classes, items):
    assert_docstring_consistency(classes, **items)


def test_every_shared_parameter_of_the_transformers_is_compared_or_differs():
    shared = set.intersection(*(set(inspect.signature(kind).parameters) for kind in FAMILIES["transformers"][0]))
    assert shared - set(OF_TRANSFORMERS["include_params"]) == {
        "n_components",
        "hidden_layer_sizes",
        "activation",
        "init",
        "likelihood",
        "corruption",
        "penalty",
        "learning_rate_init",
        "max_iter",
        "early_stopping",
        "random_state",
    }


SUBSTANCE = {"PR01", "PR02", "PR03", "PR04", "RT01"}  # parameters and results, and not how they are written


def public_objects():
    """Public classes and their methods by name, but for those of ``core``, which are contracts that its base classes state."""
    for name in skvae.__all__:
        kind = getattr(skvae, name)
        if not inspect.isclass(kind) or hasattr(kind, "_fields"):  # named tuples have attributes
            continue
        yield f"skvae.{name}"
        for method, function in inspect.getmembers(kind, inspect.isfunction):
            if not method.startswith("_") and function.__module__.startswith("skvae._"):
                yield f"skvae.{name}.{method}"


@pytest.mark.parametrize("name", list(public_objects()))
def test_docstrings_document_parameters_and_results(name):
    errors = [error for error in validate(name)["errors"] if error[0] in SUBSTANCE]
    assert errors == []
