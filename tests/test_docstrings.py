"""The same parameter has the same text in every class of a family."""

import inspect

import pytest
from sklearn.utils._testing import assert_docstring_consistency

from skvae import L1, L2, AutoencoderTransformer, Contractive, Masking, SaltAndPepper, SwapNoise, VAETransformer

pytest.importorskip("numpydoc", reason="reads the docstrings")

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
