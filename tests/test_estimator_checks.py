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
    Masking,
    SwapNoise,
    VAETransformer,
)

QUICK = {"hidden_layer_sizes": (8,), "max_iter": 3, "early_stopping": False}
ALL_AT_ONCE = {"corruption": SwapNoise(0.2), "penalty": (L1(0.1), Contractive(0.1)), "n_nonzero_coefs": 1}
HIDDEN = Masking((0.0, 0.5), hidden_only=True)
NARROW = {"n_components": 8, "hidden_layer_sizes": (8,), "max_iter": 3, "cv": 2}
# One setting for each code path of fit that the checks can tell apart.
ESTIMATORS = {
    "linear": AutoencoderTransformer(hidden_layer_sizes=()),
    "all variants at once": AutoencoderTransformer(**ALL_AT_ONCE, **QUICK),
    "hidden cells, held-out rows": AutoencoderTransformer(corruption=HIDDEN, **QUICK | {"early_stopping": True}),
    "vae, linear": VAETransformer(hidden_layer_sizes=(), max_iter=3),
    "imputer": AutoencoderImputer(n_estimators=1, **QUICK),
    "imputer, drawn": AutoencoderImputer(n_estimators=1, sample_posterior=True, random_state=0, **QUICK),
    "detector": AEAnomalyDetector(**NARROW),
    "detector, neighbours alone": AEAnomalyDetector(max_samples=20, **NARROW | {"cv": "auto"}),
}
DEFAULTS = {
    "defaults": AutoencoderTransformer(max_iter=1),
    "defaults, vae": VAETransformer(max_iter=1),
    "defaults, imputer": AutoencoderImputer(max_iter=1),
    "defaults, detector": AEAnomalyDetector(),
}
LIKE_DEFAULTS = {"imputer", "detector"}
MUST_PASS = {
    "check_estimators_pickle",
    "check_fit_idempotent",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_readonly_memmap_input",
}
MUST_PASS_WITH_WEIGHTS = {"check_sample_weight_equivalence_on_dense_data"}
MUST_PASS_OF_DETECTORS = {"check_outliers_fit_predict", "check_outliers_train", "check_outlier_contamination"}
SKIPPED_BY_SKLEARN = {
    f"check_array_api_{kind}" for kind in ("input", "same_namespace", "mixed_inputs")
}  # test_tensors runs these

# Checks that scikit-learn runs on its own estimators, beside check_estimator.
BESIDE = [
    "check_dataframe_column_names_consistency",
    "check_inplace_ensure_writeable",
    "check_n_features_in_after_fitting",
    "check_param_validation",
]
BESIDE_TRANSFORMERS = [
    *BESIDE,
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
        *(pytest.param(estimator, id=name) for name, estimator in ESTIMATORS.items() if name not in LIKE_DEFAULTS),
        *(pytest.param(estimator, id=name, marks=pytest.mark.slow) for name, estimator in DEFAULTS.items()),
    ],
)
def test_check_estimator(estimator):
    results = estimator_checks.check_estimator(clone(estimator), on_skip=None, on_fail="raise")
    passed = {r["check_name"] for r in results if r["status"] == "passed"}
    assert sum(r["status"] == "passed" for r in results) > 40
    assert passed >= MUST_PASS
    assert passed >= MUST_PASS_WITH_WEIGHTS
    assert passed >= MUST_PASS_OF_DETECTORS or not isinstance(estimator, AEAnomalyDetector)
    assert {r["check_name"] for r in results} - passed <= SKIPPED_BY_SKLEARN
    assert not any(r["expected_to_fail"] for r in results)


# The checks pass arrays to an estimator fitted on a frame, and the other way round.
@pytest.mark.filterwarnings("ignore:X .*feature names:UserWarning")
@pytest.mark.parametrize(
    ("name", "check"),
    [
        *((name, check) for name in ("linear", "vae, linear", "imputer") for check in BESIDE_TRANSFORMERS),
        *(("detector", check) for check in BESIDE),
    ],
)
def test_check_beside(name, check):
    if not hasattr(estimator_checks, check):
        pytest.skip(f"this scikit-learn has no {check}")
    estimator = ESTIMATORS[name]
    getattr(estimator_checks, check)(type(estimator).__name__, clone(estimator))


@pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer, AutoencoderImputer])
def test_tags_of_transformers(kind):
    tags = get_tags(kind())
    assert tags.input_tags.allow_nan
    assert tags.transformer_tags.preserves_dtype == ["float64", "float32"]


def test_tags_of_the_detector():
    tags = get_tags(AEAnomalyDetector())
    assert tags.estimator_type == "outlier_detector"
    assert tags.input_tags.allow_nan
