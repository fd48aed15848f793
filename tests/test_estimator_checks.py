"""scikit-learn's own checks of what an estimator is, none excused."""

import pytest
from sklearn.base import clone
from sklearn.utils import estimator_checks

from skvae import AutoencoderTransformer

SHORT = {
    "linear": {"hidden_layer_sizes": ()},
    "random": {"init": "random", "max_iter": 5},
    "deep": {"hidden_layer_sizes": (64, 64), "activation": "relu", "standardize": False, "max_iter": 5},
}
MUST_PASS = {
    "check_estimators_pickle",
    "check_fit_idempotent",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_readonly_memmap_input",
    "check_sample_weight_equivalence_on_dense_data",
}
SKIPPED_BY_SKLEARN = {"check_array_api_input"}  # where SCIPY_ARRAY_API is not set

# Checks that scikit-learn runs on its own estimators, beside check_estimator.
BESIDE = [
    "check_dataframe_column_names_consistency",
    "check_get_feature_names_out_error",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_inplace_ensure_writeable",
    "check_n_features_in_after_fitting",
    "check_param_validation",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_transformer_preserve_dtypes",
]

pytestmark = [
    pytest.mark.uses_global_rng,  # by scikit-learn, in the checks
    # Five epochs are too few to converge, which the estimator rightly says.
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@pytest.mark.parametrize(
    "params",
    [pytest.param({}, id="default", marks=pytest.mark.slow), *(pytest.param(p, id=name) for name, p in SHORT.items())],
)
def test_check_estimator(params):
    results = estimator_checks.check_estimator(AutoencoderTransformer(**params), on_skip=None, on_fail="raise")
    passed = {r["check_name"] for r in results if r["status"] == "passed"}
    assert sum(r["status"] == "passed" for r in results) > 40
    assert passed >= MUST_PASS
    assert {r["check_name"] for r in results} - passed <= SKIPPED_BY_SKLEARN
    assert not any(r["expected_to_fail"] for r in results)


# The checks pass arrays to an estimator fitted on a frame, and the other way round.
@pytest.mark.filterwarnings("ignore:X .*feature names:UserWarning")
@pytest.mark.parametrize("params", SHORT.values(), ids=SHORT)
@pytest.mark.parametrize("check", BESIDE)
def test_check_beside(check, params):
    if not hasattr(estimator_checks, check):
        pytest.skip(f"this scikit-learn has no {check}")
    estimator = clone(AutoencoderTransformer(**params))
    getattr(estimator_checks, check)(type(estimator).__name__, estimator)
