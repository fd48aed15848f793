"""scikit-learn's own checks of what an estimator is, none excused."""

import pytest
from sklearn.base import clone
from sklearn.utils import estimator_checks, get_tags

from skvae import (
    L1,
    AEAnomalyDetector,
    AutoencoderImputer,
    AutoencoderTransformer,
    Contractive,
    KLSparsity,
    Masking,
    SwapNoise,
    VAETransformer,
)

RANDOM = {"init": "random", "max_iter": 5}
DEEP = {"hidden_layer_sizes": (64, 64), "activation": "relu", "standardize": False, "max_iter": 5}
QUICK = {"hidden_layer_sizes": (8,), "max_iter": 3, "early_stopping": False}
ALL_AT_ONCE = {"corruption": SwapNoise(0.2), "penalty": (L1(0.1), Contractive(0.1)), "n_nonzero_coefs": 1}
FEW = {"max_iter": 3, "cv": 2}
NARROW = {"n_components": 8, "hidden_layer_sizes": (16,), **FEW}
HIDDEN = Masking((0.0, 0.5), hidden_only=True)
VARIANTS = {
    "gaussian": AutoencoderTransformer(corruption="gaussian", **QUICK),
    "masking": AutoencoderTransformer(corruption="masking", **QUICK),
    "salt and pepper": AutoencoderTransformer(corruption="salt_and_pepper", **QUICK),
    "swap": AutoencoderTransformer(corruption="swap", **QUICK),
    "l1": AutoencoderTransformer(penalty="l1", **QUICK),
    "l2": AutoencoderTransformer(penalty="l2", **QUICK),
    "contractive": AutoencoderTransformer(penalty="contractive", **QUICK),
    "rates": AutoencoderTransformer(penalty=KLSparsity(target=0.2), code_activation="logistic", **QUICK),
    "top-k": AutoencoderTransformer(n_nonzero_coefs=1, **QUICK),
    "relu code": AutoencoderTransformer(penalty="l1", code_activation="relu", **QUICK),
    "all at once": AutoencoderTransformer(**ALL_AT_ONCE, **QUICK | {"early_stopping": True}),
    "vae, denoising": VAETransformer(corruption="masking", **QUICK),
    "hidden cells": AutoencoderTransformer(corruption=HIDDEN, **QUICK),
    "vae, hidden cells": VAETransformer(corruption=HIDDEN, **QUICK),
}
SHORT = {
    "linear": AutoencoderTransformer(hidden_layer_sizes=()),
    "random": AutoencoderTransformer(**RANDOM),
    "deep": AutoencoderTransformer(**DEEP),
    "vae, linear": VAETransformer(hidden_layer_sizes=()),
    "vae, linear, noise per column": VAETransformer(hidden_layer_sizes=(), likelihood="gaussian_diag"),
    "vae, random": VAETransformer(**RANDOM | {"hidden_layer_sizes": (16,), "early_stopping": False}),
    "vae, deep": VAETransformer(**DEEP | {"hidden_layer_sizes": (16, 16), "max_iter": 2}),
    **VARIANTS,
    "imputer": AutoencoderImputer(**QUICK),
    "imputer, drawn": AutoencoderImputer(sample_posterior=True, random_state=0, **QUICK),
    "imputer, judged": AutoencoderImputer(**QUICK | {"early_stopping": True}),
}
DETECTORS = {
    "anomalies": AEAnomalyDetector(**FEW),
    "anomalies, vae": AEAnomalyDetector(variational=True, **NARROW),
    "anomalies, of normal rows": AEAnomalyDetector(support_fraction=1.0, **NARROW),
    "anomalies, judged": AEAnomalyDetector(early_stopping=True, **NARROW),
    "anomalies, folds": AEAnomalyDetector(**NARROW | {"cv": "auto", "max_iter": 2}),
}
DEFAULT = {
    "default": AutoencoderTransformer(),
    "vae, default": VAETransformer(),
    "imputer, default width": AutoencoderImputer(max_iter=20),
    "anomalies, default": AEAnomalyDetector(),
}
MUST_PASS = {
    "check_estimators_pickle",
    "check_fit_idempotent",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_readonly_memmap_input",
}
MUST_PASS_WITH_WEIGHTS = {"check_sample_weight_equivalence_on_dense_data"}
MUST_PASS_OF_DETECTORS = {"check_outliers_fit_predict", "check_outliers_train", "check_outlier_contamination"}
SKIPPED_BY_SKLEARN = {"check_array_api_input"}  # where SCIPY_ARRAY_API is not set

# Checks that scikit-learn runs on its own estimators, beside check_estimator.
BESIDE_OF_ALL = [
    "check_dataframe_column_names_consistency",
    "check_inplace_ensure_writeable",
    "check_n_features_in_after_fitting",
    "check_param_validation",
]
BESIDE = [
    *BESIDE_OF_ALL,
    "check_get_feature_names_out_error",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_transformer_preserve_dtypes",
]

pytestmark = [
    pytest.mark.uses_global_rng,  # by scikit-learn, in the checks
    # A few epochs are too few to converge, which the estimator rightly says.
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@pytest.mark.parametrize(
    "estimator",
    [
        *(pytest.param(estimator, id=name, marks=pytest.mark.slow) for name, estimator in DEFAULT.items()),
        *(pytest.param(estimator, id=name) for name, estimator in {**SHORT, **DETECTORS}.items()),
    ],
)
def test_check_estimator(estimator):
    results = estimator_checks.check_estimator(clone(estimator), on_skip=None, on_fail="raise")
    passed = {r["check_name"] for r in results if r["status"] == "passed"}
    assert sum(r["status"] == "passed" for r in results) > 40
    assert passed >= MUST_PASS
    assert passed >= MUST_PASS_WITH_WEIGHTS or isinstance(estimator, AutoencoderImputer | AEAnomalyDetector)
    assert passed >= MUST_PASS_OF_DETECTORS or not isinstance(estimator, AEAnomalyDetector)
    assert {r["check_name"] for r in results} - passed <= SKIPPED_BY_SKLEARN
    assert not any(r["expected_to_fail"] for r in results)


# The checks pass arrays to an estimator fitted on a frame, and the other way round.
@pytest.mark.filterwarnings("ignore:X .*feature names:UserWarning")
@pytest.mark.parametrize("estimator", SHORT.values(), ids=SHORT)
@pytest.mark.parametrize("check", BESIDE)
def test_check_beside(check, estimator):
    if not hasattr(estimator_checks, check):
        pytest.skip(f"this scikit-learn has no {check}")
    getattr(estimator_checks, check)(type(estimator).__name__, clone(estimator))


@pytest.mark.filterwarnings("ignore:X .*feature names:UserWarning")
@pytest.mark.parametrize("estimator", DETECTORS.values(), ids=DETECTORS)
@pytest.mark.parametrize("check", BESIDE_OF_ALL)
def test_check_of_a_detector_beside(check, estimator):
    if not hasattr(estimator_checks, check):
        pytest.skip(f"this scikit-learn has no {check}")
    getattr(estimator_checks, check)(type(estimator).__name__, clone(estimator))


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer, AutoencoderImputer])
def test_missing_cells_are_said_to_be_allowed(kind):
    tags = get_tags(kind())
    assert tags.input_tags.allow_nan
    assert tags.transformer_tags.preserves_dtype == ["float64", "float32"]


def test_missing_cells_are_allowed_to_a_detector():
    tags = get_tags(AEAnomalyDetector())
    assert tags.estimator_type == "outlier_detector"
    assert tags.input_tags.allow_nan
