"""Corruptions, penalties and kinds of code as parameters of the estimators; Jacobians, tangents and lines of what comes out."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skvae import (
    L1,
    L2,
    AutoencoderTransformer,
    Contractive,
    DiffusionNoise,
    GaussianNoise,
    KLSparsity,
    Masking,
    SaltAndPepper,
    SwapNoise,
    VAETransformer,
)

X = load_wine().data[::2]
QUICK = {"hidden_layer_sizes": (6,), "max_iter": 3, "early_stopping": False, "random_state": 0}
OF_CORRUPTION = {
    "gaussian": (GaussianNoise, {}),
    "masking": (Masking, {}),
    "salt_and_pepper": (SaltAndPepper, {}),
    "swap": (SwapNoise, {}),
}
OF_PENALTY = {
    "l1": (L1, {}),
    "l2": (L2, {}),
    "contractive": (Contractive, {}),
    "kl_sparsity": (KLSparsity, {"code_activation": "logistic"}),
}
VARIANTS = {
    **{name: {"corruption": name} for name in OF_CORRUPTION},
    "diffusion": {"corruption": DiffusionNoise((0.1, 1.0))},
    **{name: {"penalty": name, **needed} for name, (_, needed) in OF_PENALTY.items()},
    "top-k": {"n_nonzero_coefs": 1},
    **{f"{name} code": {"code_activation": name} for name in ("logistic", "tanh", "relu", "silu", "gelu")},
    "hidden rates": {
        "penalty": KLSparsity(target=(0.3, 0.1), layer_weights=(1.0, 1.0)),
        "activation": "logistic",
        "code_activation": "logistic",
    },
    "all at once": {
        "corruption": SwapNoise(0.2),
        "penalty": (L1(0.1), Contractive(0.1)),
        "n_nonzero_coefs": 1,
        "code_activation": "relu",
    },
}
FOR_BOTH = {name: VARIANTS[name] for name in [*OF_CORRUPTION, "diffusion", "l1", "l2", "contractive"]}
SETTINGS = {
    **{name: (AutoencoderTransformer, params) for name, params in VARIANTS.items()},
    **{f"vae, {name}": (VAETransformer, params) for name, params in FOR_BOTH.items()},
    "vae, all at once": (VAETransformer, {"corruption": "masking", "penalty": (L1(0.1), Contractive(0.1))}),
}
each_setting = pytest.mark.parametrize(("kind", "params"), SETTINGS.values(), ids=SETTINGS)
FEW = ["diffusion", "kl_sparsity", "top-k", "hidden rates", "all at once", "vae, masking", "vae, all at once"]
each_of_few = pytest.mark.parametrize(("kind", "params"), [SETTINGS[name] for name in FEW], ids=FEW)
each_kind = pytest.mark.parametrize("kind", [AutoencoderTransformer, VAETransformer])

# Three epochs are too few to converge, which the estimator rightly says.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def build(kind=AutoencoderTransformer, n_components=3, **params):
    return kind(n_components, **QUICK | params)


def weights_of(estimator):
    return torch.cat([p.detach().double().flatten() for p in estimator.module_.parameters()]).numpy()


def assert_same(a, b):
    np.testing.assert_array_equal(weights_of(a), weights_of(b))
    np.testing.assert_array_equal(a.transform(X), b.transform(X))
    np.testing.assert_array_equal(a.score_samples(X), b.score_samples(X))
    assert a.loss_curve_ == b.loss_curve_
    assert a.validation_scores_ == b.validation_scores_


@pytest.fixture(scope="module")
def plain():
    return {kind: build(kind).fit(X) for kind in (AutoencoderTransformer, VAETransformer)}


# What the parameters do


@each_setting
@pytest.mark.parametrize(("init", "hidden_layer_sizes"), [("pca", ()), ("random", (6,))], ids=["linear from PCA", "random"])
def test_every_setting_trains_another_model(init, hidden_layer_sizes, kind, params):
    if not hidden_layer_sizes and isinstance(params.get("penalty"), KLSparsity):
        params = params | {"penalty": KLSparsity(target=0.1, layer_weights=(1.0,))}
    common = {"init": init, "hidden_layer_sizes": hidden_layer_sizes}
    fitted, plain = build(kind, **common, **params).fit(X), build(kind, **common).fit(X)
    assert len(fitted.loss_curve_) == 3
    assert np.abs(fitted.reconstruct(X) / X.std(0) - plain.reconstruct(X) / X.std(0)).max() > 1e-4
    for values in (fitted.transform(X), fitted.reconstruct(X), fitted.score_samples(X), fitted.loss_curve_):
        assert np.isfinite(values).all()


@each_setting
def test_every_setting_may_be_judged_on_held_out_rows(kind, params):
    judged = {"init": "random", "early_stopping": True, "max_iter": 10, "n_iter_no_change": 10}
    fitted = build(kind, **params, **judged).fit(X, X_val=X)
    assert len(fitted.validation_scores_) == 1 + 10
    assert fitted.validation_scores_[-1] > fitted.validation_scores_[0]
    assert np.isfinite(fitted.score_samples(X)).all()


@each_setting
def test_every_setting_comes_again_to_the_last_bit(kind, params):
    fitted = build(kind, **params).fit(X)
    assert_same(pickle.loads(pickle.dumps(fitted)), fitted)
    assert_same(pickle.loads(pickle.dumps(clone(fitted))).fit(X[::-1]), fitted)


@pytest.mark.parametrize("params", VARIANTS.values(), ids=VARIANTS)
def test_no_global_generator_is_touched_without_a_seed(params):
    build(**params).set_params(random_state=None).fit(X)  # conftest watches


@each_setting
def test_the_seed_is_read_where_something_is_drawn(kind, params):
    curves = [build(kind, **params, shuffle=False, batch_size=1000, random_state=seed).fit(X).loss_curve_ for seed in (0, 1)]
    still = {"top-k", *(name for name in VARIANTS if name.endswith(" code"))}
    name = next(name for name, setting in SETTINGS.items() if setting == (kind, params))
    assert curves[0][0] != curves[1][0] or name in {*still, "contractive"}  # at the start, but for rounding, all are alike


@pytest.mark.parametrize("name", OF_CORRUPTION)
@each_kind
def test_a_corruption_by_name_is_the_object_with_its_default_level(kind, name):
    assert_same(build(kind, corruption=name).fit(X), build(kind, corruption=OF_CORRUPTION[name][0]()).fit(X))


@pytest.mark.parametrize("name", OF_PENALTY)
def test_a_penalty_by_name_is_the_object_with_its_default_weight(name):
    kind, needed = OF_PENALTY[name]
    named = build(penalty=name, **needed).fit(X)
    assert_same(build(penalty=kind(), **needed).fit(X), named)
    assert_same(build(penalty=(kind(),), **needed).fit(X), named)
    assert [penalty.weight for penalty in named.penalties_] == [kind().weight]


def test_several_penalties_are_all_charged():
    parts = L1(0.5), Contractive(0.5)
    both, *alone = (build(penalty=penalty).fit(X).loss_curve_ for penalty in (parts, *parts))
    assert all(b > a for curve in alone for a, b in zip(curve, both, strict=True))
    assert build(penalty=parts).fit(X).penalties_ == (L1(0.5), Contractive(0.5, n_probes="exact"))


@pytest.mark.parametrize(
    ("penalty", "n_components", "expected"),
    [
        (None, 3, ()),
        ("l1", 3, (L1(),)),
        ("contractive", 3, (Contractive(n_probes="exact"),)),
        ("contractive", 16, (Contractive(n_probes="exact"),)),
        ("contractive", 17, (Contractive(n_probes=1),)),
        (Contractive(n_probes="exact"), 17, (Contractive(n_probes="exact"),)),
        (Contractive(n_probes=5), 3, (Contractive(n_probes=5),)),
    ],
)
def test_what_was_charged_is_told(penalty, n_components, expected):
    assert build(n_components=n_components, penalty=penalty).fit(X).penalties_ == expected


def test_no_penalties_are_none(plain):
    assert_same(build(penalty=()).fit(X), plain[AutoencoderTransformer])


def test_no_penalties_leave_what_pca_solves():
    assert build(penalty=(), hidden_layer_sizes=()).fit(X).loss_curve_ == []


@pytest.mark.parametrize(
    "params", [{"corruption": "swap"}, {"penalty": "l1"}, {"n_nonzero_coefs": 1}, {"code_activation": "tanh"}]
)
def test_what_pca_does_not_solve_is_trained(params):
    assert build(hidden_layer_sizes=()).fit(X).loss_curve_ == []
    assert len(build(hidden_layer_sizes=(), **params).fit(X).loss_curve_) == 3


@pytest.mark.parametrize("corruption", [Masking(0.5), SaltAndPepper(0.5)], ids=["masking", "salt_and_pepper"])
def test_statistics_of_columns_are_weighted(corruption):
    weights = np.arange(len(X)) % 3
    params = {"corruption": corruption, "batch_size": 1000}
    weighted = build(**params).fit(X, sample_weight=weights)
    assert_same(build(**params).fit(np.repeat(X, weights, axis=0)), weighted)


@each_of_few
def test_weights_are_repetitions(kind, params):
    weights = np.arange(len(X)) % 3
    assert_same(build(kind, **params).fit(np.repeat(X, weights, axis=0)), build(kind, **params).fit(X, sample_weight=weights))


def test_weights_are_repetitions_where_folds_judge():
    weights = np.arange(len(X)) % 3
    params = VARIANTS["all at once"] | {"early_stopping": True}
    assert_same(build(**params).fit(np.repeat(X, weights, axis=0)), build(**params).fit(X, sample_weight=weights))


def test_more_sparsity_makes_sparser_codes():
    """On hidden factors of which one is on per row."""
    rng = np.random.default_rng(0)
    factors = np.eye(4)[rng.integers(4, size=400)] * rng.uniform(1, 2, size=(400, 1))
    table = factors @ rng.normal(size=(4, 8)) + 0.05 * rng.normal(size=(400, 8))
    params = {"hidden_layer_sizes": (), "init": "random", "code_activation": "relu", "max_iter": 200}
    shares = []
    for weight in (0.0, 0.3):
        codes = build(n_components=4, **params, penalty=L1(weight)).fit(table).transform(table)
        shares.append((codes > 1e-3 * codes.max(0)).mean())
    assert shares[1] < shares[0] - 0.05


def test_contraction_makes_flatter_codes():
    slopes = []
    for weight in (0.0, 10.0):
        fitted = build(penalty=Contractive(weight), max_iter=200).fit(X)
        jacobians = fitted.encoder_jacobian(X) * X.std(0) / fitted.transform(X).std(0)[:, None]
        slopes.append((jacobians**2).sum((1, 2)).mean())
    assert slopes[1] < 0.9 * slopes[0]


def test_denoising_fills_in_what_is_masked():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(1000, 2)) @ rng.normal(size=(2, 8)) + 0.1 * rng.normal(size=(1000, 8))
    damaged = np.where(rng.random(table.shape) < 0.3, table.mean(0), table)
    errors = []
    for corruption in (None, Masking(0.3)):
        fitted = build(n_components=2, corruption=corruption, hidden_layer_sizes=(32,), max_iter=100).fit(table)
        errors.append(np.square((fitted.reconstruct(damaged) - table) / table.std(0)).mean())
    assert errors[1] < 0.7 * errors[0]


@pytest.fixture(scope="module")
def told():
    """Trained on rows from a standard normal in the plane."""
    rows = np.random.default_rng(0).normal(size=(2000, 2))
    params = {"hidden_layer_sizes": (64,), "init": "random", "early_stopping": False, "random_state": 0, "standardize": False}
    return AutoencoderTransformer(16, corruption=DiffusionNoise((0.1, 2.0)), **params).fit(rows)


def denoised(fitted, noisy, level):
    """What comes out of noisy rows for an encoder that is told this level."""
    rows = torch.from_numpy(fitted._fitted.scaling.apply(noisy)).float()
    inputs = fitted.module_.inputs(rows, torch.full((len(rows), 1), level))
    with torch.no_grad():
        out = fitted.module_.decode(fitted.module_.encode_inputs(inputs))
    return out.double().numpy() * fitted._fitted.scaling.scale + fitted._fitted.scaling.mean


def rms(values):
    return np.sqrt(np.square(values).mean())


@pytest.mark.parametrize("level", [0.2, 1.0, 2.0])
def test_who_is_told_how_noisy_a_row_is_takes_off_what_is_ideal(level, told):
    """Of new rows: E[x | x + level * e] is the noisy row over 1 + level**2, for standard normal x and e."""
    rng = np.random.default_rng(1)
    noisy = rng.normal(size=(2000, 2)) + level * rng.normal(size=(2000, 2))
    ideal = noisy / (1 + level**2)
    error = rms(denoised(told, noisy, level) - ideal)
    assert error < 0.1  # of rows whose root mean square is 1
    others = [rms(denoised(told, noisy, other) - ideal) for other in (0.2, 1.0, 2.0) if other != level]
    assert error < 0.5 * min(others)


def test_clean_rows_are_taken_for_rows_of_the_typical_level(told):
    rows = np.random.default_rng(2).normal(size=(100, 2))
    expected = denoised(told, rows, np.sqrt(0.1 * 2.0))
    np.testing.assert_allclose(told.reconstruct(rows), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("corruption", [Masking(0.9), DiffusionNoise((0.5, 2.0))], ids=["masking", "diffusion"])
def test_only_training_rows_are_damaged(corruption):
    fitted = build(corruption=corruption).fit(X)
    np.testing.assert_array_equal(fitted.transform(X), fitted.transform(X))
    codes = fitted.module_.encode(torch.from_numpy(fitted._fitted.scaling.apply(X)).float()).detach().numpy()
    np.testing.assert_allclose(fitted.transform(X), codes, rtol=1e-4, atol=1e-5)


# Top-k codes


@pytest.mark.parametrize(
    ("dtype", "init", "k"),
    [(np.float64, "pca", 1), (np.float32, "pca", 2), (np.float64, "random", 2), (np.float32, "random", 5)],
)
def test_codes_have_so_many_entries_that_are_not_zero(dtype, init, k):
    fitted = build(n_components=5, n_nonzero_coefs=k, init=init).fit(X)
    codes = fitted.transform(X.astype(dtype))
    assert codes.dtype == dtype
    np.testing.assert_array_equal((codes != 0).sum(1), k)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_alone_has_the_code_that_it_has_in_the_table(dtype):
    fitted = build(n_components=5, n_nonzero_coefs=2).fit(X)
    rows = (X.mean(0) + 2 * X.std(0) * np.random.default_rng(0).normal(size=(300, 13))).astype(dtype)
    together, alone = fitted.transform(rows), np.concatenate([fitted.transform(row) for row in rows[:, None]])
    np.testing.assert_array_equal(alone, together)


def test_all_components_are_a_dense_code():
    """Which starts at PCA, though not in whitened units."""
    start = {"learning_rate_init": 1e-12, "max_iter": 1}
    sparse, dense = build(n_nonzero_coefs=3, **start).fit(X), build(**start).fit(X)
    np.testing.assert_allclose(sparse.reconstruct(X), dense.reconstruct(X), rtol=1e-3)
    assert (sparse.transform(X) != 0).all()


def test_the_number_is_checked_against_the_components_that_pca_needs():
    needed = build(n_components=0.5).fit(X).n_components_
    assert build(n_components=0.5, n_nonzero_coefs=needed).fit(X).n_components_ == needed
    with pytest.raises(ValueError, match=f"n_nonzero_coefs={needed + 1} is more than the {needed} components"):
        build(n_components=0.5, n_nonzero_coefs=needed + 1).fit(X)


# Codes between bounds, and their start


@pytest.mark.parametrize(
    ("activation", "lowest", "highest"),
    [("logistic", 0, 1), ("tanh", -1, 1), ("relu", 0, np.inf), ("silu", -0.279, np.inf), ("gelu", -0.171, np.inf)],
)
@pytest.mark.parametrize("init", ["pca", "random"])
def test_codes_are_bounded(init, activation, lowest, highest):
    fitted = build(code_activation=activation, init=init).fit(X)
    codes = fitted.transform(np.concatenate([X, 100 * X, -100 * X]))
    assert codes.min() >= lowest
    assert codes.max() <= highest


def squared_error_of_pca(n_components, table):
    pca = PCA(n_components)
    return np.square(pca.inverse_transform(pca.fit_transform(table)) - table).sum()


@pytest.mark.parametrize(("hidden_layer_sizes", "n_components"), [((), 1), ((6,), 8)])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu", "silu", "gelu"])
def test_every_activation_starts_near_pca(activation, n_components, hidden_layer_sizes):
    params = {"hidden_layer_sizes": hidden_layer_sizes, "learning_rate_init": 1e-12, "max_iter": 1}
    fitted = build(n_components=n_components, code_activation=activation, **params).fit(X)
    expected = squared_error_of_pca(n_components, StandardScaler().fit_transform(X))
    assert 0.9999 * expected <= fitted.reconstruction_error(X).sum() < 1.1 * expected


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu", "silu", "gelu"])
def test_where_pca_leaves_next_to_nothing_the_start_leaves_little_more(activation):
    """One column has almost all the variance; an activation that is not quite linear loses some of that."""
    params = {"standardize": False, "learning_rate_init": 1e-12, "max_iter": 1}
    error = build(code_activation=activation, **params).fit(X).reconstruction_error(X).sum()
    assert error - squared_error_of_pca(3, X) < 0.005 * np.square(X - X.mean(0)).sum()


@pytest.mark.parametrize("n_nonzero_coefs", [1, 2])
def test_top_k_starts_with_the_axes_that_matter_most_in_each_row(n_nonzero_coefs):
    fitted = build(n_nonzero_coefs=n_nonzero_coefs, learning_rate_init=1e-12, max_iter=1).fit(X)
    Z = StandardScaler().fit_transform(X)
    pca = PCA(3).fit(Z)
    codes = pca.transform(Z)
    kept = np.argsort(-np.abs(codes), axis=1)[:, :n_nonzero_coefs]
    sparse = np.zeros_like(codes)
    np.put_along_axis(sparse, kept, np.take_along_axis(codes, kept, 1), 1)
    np.testing.assert_allclose(
        fitted.reconstruct(X) / X.std(0), pca.inverse_transform(sparse) + X.mean(0) / X.std(0), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("activation", ["identity", "logistic", "relu"])
def test_bernoulli_cells_may_have_every_code(activation):
    table = MinMaxScaler().fit_transform(X).clip(0, 1)
    fitted = build(likelihood="bernoulli", code_activation=activation, corruption="gaussian", penalty="l1").fit(table)
    assert np.isfinite(fitted.score_samples(table)).all()
    assert fitted.reconstruct(table).min() >= 0


@pytest.mark.parametrize(
    "params", [{"corruption": "swap"}, {"penalty": "l1"}, {"n_nonzero_coefs": 1}, {"code_activation": "relu"}]
)
@pytest.mark.parametrize("n_rows", [2, 8])
def test_the_noise_of_too_few_rows_is_their_residual(n_rows, params):
    fitted = build(**params, n_components=1).set_params(early_stopping=True).fit(X[:n_rows])
    error = fitted.reconstruction_error(X[:n_rows]).mean() / X.shape[1]
    assert fitted.noise_variance_ == pytest.approx(max(error, 1e-6), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("penalty", [L1(0.5), Contractive(0.5)])
def test_a_warm_start_goes_on_with_the_same_objective(penalty):
    fitted = build(penalty=penalty, max_iter=100, warm_start=True).fit(X)
    before = fitted.loss_curve_[-1]
    fitted.set_params(learning_rate_init=1e-12, max_iter=1).fit(X)
    assert fitted.loss_curve_[-1] == pytest.approx(before, rel=0.05)


@pytest.mark.parametrize("penalty", [L2(0.5), Contractive(0.5)], ids=["l2", "contractive"])
@pytest.mark.parametrize("likelihood", ["gaussian", "mse"])
def test_the_unit_of_the_table_is_not_in_the_weight_of_a_penalty(likelihood, penalty):
    params = {"standardize": False, "init": "random", "likelihood": likelihood, "penalty": penalty, "max_iter": 30}
    table = X / X.std(0)
    expected, *errors = (build(**params).fit(u * table).reconstruction_error(u * table).sum() / u**2 for u in (1.0, 1e-3, 1e3))
    assert errors == pytest.approx([expected] * 2, rel=0.01)


# The estimator's parameters


@each_kind
def test_objects_have_nested_parameters(kind):
    estimator = kind(corruption=SwapNoise(0.2), penalty=Contractive(0.3, n_probes=4))
    nested = {key: value for key, value in estimator.get_params().items() if "__" in key}
    assert nested == {"corruption__level": 0.2, "penalty__weight": 0.3, "penalty__n_probes": 4}
    assert not any("__" in key for key in estimator.get_params(deep=False))
    nested = {key for key in kind(penalty=KLSparsity()).get_params() if "__" in key}
    assert nested == {"penalty__weight", "penalty__target", "penalty__layer_weights", "penalty__decay"}


@pytest.mark.parametrize("params", [{}, {"corruption": "swap", "penalty": "l1"}, {"penalty": (L1(),)}])
def test_names_and_tuples_have_none(params):
    assert not any("__" in key for key in AutoencoderTransformer(**params).get_params())


def test_nested_parameters_can_be_set():
    estimator = AutoencoderTransformer(corruption=SwapNoise(0.2), penalty=Contractive(0.3, n_probes=4))
    assert estimator.set_params(penalty__weight=0.9, penalty__n_probes="exact", corruption__level=0.5) is estimator
    assert estimator.penalty == Contractive(0.9, n_probes="exact")
    assert estimator.corruption == SwapNoise(0.5)
    estimator.set_params(corruption=DiffusionNoise(), corruption__level=(0.1, 1.0))
    assert estimator.corruption == DiffusionNoise((0.1, 1.0))
    estimator.set_params(penalty=L1(0.1), penalty__weight=0.2, max_iter=7)
    assert (estimator.penalty, estimator.max_iter) == (L1(0.2), 7)


def test_a_nested_parameter_is_set_for_one_estimator_alone():
    shared = L1(0.1)
    first, second = (AutoencoderTransformer(penalty=shared) for _ in range(2))
    first.set_params(penalty__weight=0.5)
    assert (first.penalty, second.penalty, shared) == (L1(0.5), L1(0.1), L1(0.1))
    assert second.penalty is shared


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"penalty__foo": 1}, ["penalty__foo", "L1(weight=0.1)", "'foo'"]),
        ({"penalty__weight__more": 1}, ["penalty__weight__more"]),
        ({"corruption__level": 1}, ["corruption__level", "corruption='auto'"]),
        ({"penalty": "l1", "penalty__weight": 1}, ["penalty__weight", "penalty='l1'"]),
        ({"penalty": (L1(),), "penalty__weight": 1}, ["penalty__weight", "tuples have no nested parameters"]),
        ({"activation__level": 1}, ["set_params"]),
        ({"foo__bar": 1}, ["foo"]),
        ({"penalty__weight": -1}, ["L1", "weight=-1"]),
    ],
)
def test_nested_names_that_are_not_there(params, words):
    estimator = AutoencoderTransformer(penalty=L1(0.1))
    with pytest.raises((ValueError, AttributeError)) as caught:
        estimator.set_params(**params)
    assert all(word in str(caught.value) for word in words)


@each_of_few
def test_clones_have_equal_parameters(kind, params):
    estimator = build(kind, **params)
    assert clone(estimator).get_params() == estimator.get_params()
    assert all(word in repr(estimator) for word in params)


def test_a_grid_may_hold_objects():
    grid = {"corruption": [None, Masking(0.2), SwapNoise(0.2)], "penalty": [None, "l2", (L1(0.1), Contractive(0.1))]}
    search = GridSearchCV(build(), grid, cv=2, error_score="raise").fit(X)
    assert len(set(search.cv_results_["mean_test_score"])) == 9
    assert search.best_params_.items() <= search.best_estimator_.get_params().items()


def test_a_grid_may_hold_nested_parameters():
    penalty = Contractive(0.1)
    grid = {"penalty__weight": [0.01, 1.0], "corruption__level": [0.1, 0.5]}
    search = GridSearchCV(build(penalty=penalty, corruption=SwapNoise(0.2)), grid, cv=2, error_score="raise").fit(X)
    assert len(set(search.cv_results_["mean_test_score"])) == 4
    assert search.best_estimator_.penalty.weight == search.best_params_["penalty__weight"]
    assert penalty == Contractive(0.1)


# What contradicts itself

LOGISTIC = {"activation": "logistic", "code_activation": "logistic"}
CONTRADICTIONS = {
    "rates of a vae": (VAETransformer, {"penalty": "kl_sparsity"}, ["kl_sparsity", "posterior", "AutoencoderTransformer"]),
    "rates of a vae's hidden layers": (
        VAETransformer,
        {"penalty": KLSparsity(layer_weights=(1.0, 0.0)), "activation": "tanh"},
        ["KLSparsity", "activations between 0 and 1"],
    ),
    "rates of an unbounded code": (
        AutoencoderTransformer,
        {"penalty": "kl_sparsity"},
        ["kl_sparsity", "activations between 0 and 1", "code_activation='identity'", 'Set code_activation="logistic"'],
    ),
    "rates of a code that may be negative": (
        AutoencoderTransformer,
        {"penalty": (L1(), KLSparsity()), "code_activation": "tanh"},
        ["KLSparsity", "code_activation='tanh'", "logistic"],
    ),
    "rates of unbounded hidden layers": (
        AutoencoderTransformer,
        {"penalty": KLSparsity(layer_weights=(1.0, 1.0)), "code_activation": "logistic"},
        ["KLSparsity", " activation='gelu'", 'Set activation="logistic"'],
    ),
    "too many weights of layers": (
        AutoencoderTransformer,
        {"penalty": KLSparsity(layer_weights=(1.0, 1.0, 1.0)), **LOGISTIC},
        ["layer_weights=(1.0, 1.0, 1.0)", "3 weights", "1 hidden", "pass 2"],
    ),
    "too few weights of layers": (
        AutoencoderTransformer,
        {"penalty": KLSparsity(layer_weights=(1.0,)), **LOGISTIC},
        ["layer_weights=(1.0,)", "pass 2"],
    ),
    "more entries than components": (AutoencoderTransformer, {"n_nonzero_coefs": 4}, ["n_nonzero_coefs=4", "3 components"]),
    "name in a tuple": (AutoencoderTransformer, {"penalty": ("l1",)}, ["('l1',)", "'l1'", "skvae.L1"]),
    "corruption among penalties": (AutoencoderTransformer, {"penalty": (L1(), Masking())}, ["penalty", "Masking(level=0.1"]),
    "list of penalties": (AutoencoderTransformer, {"penalty": [L1()]}, ["penalty", "[L1(weight="]),
    "penalty as corruption": (AutoencoderTransformer, {"corruption": L1()}, ["corruption", "L1(weight="]),
    "class": (AutoencoderTransformer, {"corruption": Masking}, ["corruption", "Masking"]),
}


@pytest.mark.parametrize(("kind", "params", "words"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_contradictions_are_told_and_an_earlier_fit_survives(kind, params, words):
    fitted = build(kind).fit(X)
    codes, state = fitted.transform(X), {name: value for name, value in vars(fitted).items() if name.endswith("_")}
    fitted.set_params(**params)
    with pytest.raises((ValueError, TypeError)) as caught:
        fitted.fit(X[:20])
    missing = [word for word in words if word not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"
    assert {name: value for name, value in vars(fitted).items() if name.endswith("_")} == state
    np.testing.assert_array_equal(fitted.transform(X), codes)


def test_noise_may_be_larger_than_1():
    assert build(corruption=GaussianNoise(2.0)).fit(X).loss_curve_


# Slopes of the encoder

TRAINED = {"max_iter": 30, "init": "random"}
SMOOTH = {
    "plain": (AutoencoderTransformer, {}),
    "not standardized": (AutoencoderTransformer, {"standardize": False}),
    "two layers": (AutoencoderTransformer, {"hidden_layer_sizes": (8, 4), "activation": "tanh"}),
    "from pca": (AutoencoderTransformer, {"init": "pca"}),
    "top-k": (AutoencoderTransformer, {"n_nonzero_coefs": 2}),
    "logistic code": (AutoencoderTransformer, {"code_activation": "logistic"}),
    "vae": (VAETransformer, {}),
    "vae, not standardized": (VAETransformer, {"standardize": False, "init": "pca"}),
}


@pytest.fixture(scope="module", params=SMOOTH)
def smooth(request):
    """A fitted estimator."""
    kind, params = SMOOTH[request.param]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return build(kind, **TRAINED | params).fit(X)


def differences(function, rows, steps):
    """Central differences of a function of rows, ``(n, n_out, n_in)``."""
    slopes = []
    for j, step in enumerate(steps):
        move = step * np.eye(len(steps))[j]
        slopes.append((function(rows + move) - function(rows - move)) / (2 * step))
    return np.stack(slopes, axis=2)


def assert_close_in_norm(values, expected, tolerance):
    assert np.linalg.norm(values - expected) <= tolerance * np.linalg.norm(expected)


def in_float64(estimator):
    estimator = copy.deepcopy(estimator)
    estimator.module_.double()
    return estimator


def test_encoder_jacobian_is_that_of_finite_differences(smooth):
    rows, exact = X[:10], in_float64(smooth)
    jacobians = smooth.encoder_jacobian(rows)
    assert jacobians.shape == (10, 3, 13)
    assert jacobians.dtype == np.float64
    expected = differences(exact.transform, rows, 1e-5 * X.std(0)) * X.std(0)
    assert np.abs(expected).max() > 0.01
    assert_close_in_norm(jacobians * X.std(0), expected, 1e-4)
    assert_close_in_norm(exact.encoder_jacobian(rows) * X.std(0), expected, 1e-7)


def test_they_agree_in_float32_too():
    fitted = build(**TRAINED).fit(X)
    expected = differences(fitted.transform, X[:10], 1e-2 * X.std(0)) * X.std(0)
    assert_close_in_norm(fitted.encoder_jacobian(X[:10]) * X.std(0), expected, 1e-2)


@each_kind
@pytest.mark.parametrize("standardize", [True, False])
def test_encoder_jacobian_of_a_linear_model(standardize, kind):
    fitted = build(kind, hidden_layer_sizes=(), standardize=standardize).fit(X)
    jacobians = fitted.encoder_jacobian(X)
    assert_close_in_norm(jacobians * X.std(0), differences(fitted.transform, X, X.std(0)) * X.std(0), 1e-8)
    assert_close_in_norm(jacobians, np.broadcast_to(jacobians[:1], jacobians.shape), 1e-12)
    if kind is AutoencoderTransformer:
        pca = PCA(3, whiten=True)
        pca.fit(StandardScaler().fit_transform(X) if standardize else X)
        expected = pca.components_ / np.sqrt(pca.explained_variance_)[:, None] / (X.std(0) if standardize else 1.0)
        assert_close_in_norm(jacobians[0], expected, 1e-8)


def test_a_component_that_is_off_has_no_slope():
    fitted = build(n_nonzero_coefs=1).fit(X)
    slopes = fitted.encoder_jacobian(X).any(axis=2)
    np.testing.assert_array_equal(slopes, fitted.transform(X) != 0)


@each_kind
def test_slopes_of_a_row_do_not_depend_on_others(kind):
    fitted = build(kind).fit(X)
    np.testing.assert_array_equal(fitted.encoder_jacobian(X[5:6]), fitted.encoder_jacobian(X)[5:6])
    np.testing.assert_array_equal(fitted.tangent_space(X[5:6], 2), fitted.tangent_space(X, 2)[5:6])


# Tangents of the decoder


def test_tangents_are_orthonormal_with_a_positive_largest_entry(smooth):
    directions = smooth.tangent_space(X, 3)
    assert directions.shape == (len(X), 3, 13)
    products = directions @ directions.swapaxes(1, 2)
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(3), products.shape), atol=1e-9)
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=2, keepdims=True), axis=2)
    assert (largest > 0).all()
    np.testing.assert_array_equal(smooth.tangent_space(X, 3), directions)
    for n_directions in (1, 2):
        np.testing.assert_array_equal(directions[:, :n_directions], smooth.tangent_space(X, n_directions))


def test_tangents_are_the_singular_vectors_of_finite_differences(smooth):
    fitted = in_float64(smooth)
    codes = fitted.transform(X[:10])
    slopes = differences(fitted.inverse_transform, codes, np.full(3, 1e-5))
    left, singular, _ = np.linalg.svd(slopes)
    directions = fitted.tangent_space(X[:10], 2)
    apart = singular[:, :2] - singular[:, 1:3] > 1e-3 * singular[:, :1]  # else the vectors are not determined
    assert apart.mean() > 0.8
    agreement = np.abs(np.einsum("ndk,nkd->nk", left[..., :2], directions))
    np.testing.assert_allclose(agreement[apart], 1, atol=1e-6)


@pytest.mark.parametrize("standardize", [True, False])
def test_tangents_of_a_linear_model_span_the_axes_of_pca(standardize):
    fitted = build(hidden_layer_sizes=(), standardize=standardize).fit(X)
    pca = PCA(3).fit(StandardScaler().fit_transform(X) if standardize else X)
    axes = pca.components_ * (X.std(0) if standardize else 1.0)
    directions = fitted.tangent_space(X, 3)
    np.testing.assert_allclose(directions, np.broadcast_to(directions[:1], directions.shape), atol=1e-9)
    assert subspace_angles(directions[0].T, axes.T).max() < 1e-6
    if not standardize:
        signs = np.sign(pca.components_[np.arange(3), np.abs(pca.components_).argmax(1)])
        np.testing.assert_allclose(directions[0], pca.components_ * signs[:, None], atol=1e-8)


@pytest.mark.parametrize("init", ["pca", "random"])
def test_a_constant_column_does_not_move(init):
    table = np.column_stack([X, np.full(len(X), 5.0)])
    fitted = build(hidden_layer_sizes=(6,), init=init).fit(table)
    np.testing.assert_allclose(fitted.tangent_space(table, 3)[..., -1], 0, atol=1e-12)


@pytest.mark.parametrize(("n_components", "most"), [(3, 3), (20, 13)])
def test_more_tangents_than_there_are(n_components, most):
    fitted = build(n_components=n_components).fit(X)
    assert fitted.tangent_space(X[:2], most).shape == (2, most, 13)
    with pytest.raises(ValueError, match=f"n_directions={most + 1}, but this model has at most {most}"):
        fitted.tangent_space(X, most + 1)


@pytest.mark.parametrize("n_directions", [0, 1.5, "a"])
def test_a_number_of_tangents_that_cannot_be(plain, n_directions):
    with pytest.raises(ValueError, match=f"n_directions={n_directions!r}; it must be an integer of at least 1"):
        plain[AutoencoderTransformer].tangent_space(X, n_directions)


# Lines between rows


@each_of_few
def test_lines_start_and_end_at_reconstructions(kind, params):
    n_steps, fitted = 5, build(kind, **params).fit(X)
    lines = fitted.interpolate(X[:7], X[7:14], n_steps).reshape(7, n_steps, 13)
    for place, rows in [(0, X[:7]), (-1, X[7:14])]:
        assert_close_in_norm(lines[:, place] / X.std(0), fitted.reconstruct(rows) / X.std(0), 1e-5)
    codes = np.linspace(fitted.transform(X[:7]), fitted.transform(X[7:14]), n_steps, axis=1)
    expected = fitted.inverse_transform(codes.reshape(-1, 3)).reshape(lines.shape)
    assert_close_in_norm(lines / X.std(0), expected / X.std(0), 1e-5)


@each_kind
def test_lines_of_bits_that_fit_the_rows(kind):
    fitted = build(kind).fit(X)
    lines = fitted.interpolate(X[:2].astype(np.float32), X[2:4].astype(np.float32), 3)
    assert lines.dtype == np.float32


# A posterior


@pytest.mark.parametrize("params", FOR_BOTH.values(), ids=FOR_BOTH)
def test_a_vae_has_every_method_with_every_variant(params):
    fitted = build(VAETransformer, likelihood="gaussian_diag", **params, n_importance_samples=8).fit(X)
    for values in (*fitted.elbo(X), *fitted.posterior(X), fitted.score_samples(X), fitted.sample(3, random_state=0)):
        assert np.isfinite(values).all()
    assert fitted.elbo(X).total.mean() <= fitted.score(X) + 1e-3
    assert fitted.encoder_jacobian(X[:2]).shape == (2, 3, 13)


@pytest.mark.gpu
@pytest.mark.parametrize("variant", [*OF_CORRUPTION, DiffusionNoise((0.1, 1.0)), "l1", "l2", "contractive"])
def test_on_an_accelerator(variant):
    corruption, penalty = (None, variant) if variant in ("l1", "l2", "contractive") else (variant, None)
    params = {"corruption": corruption, "penalty": penalty, "early_stopping": False, "n_nonzero_coefs": 2}
    on_cpu, on_gpu = (build(**params, device=device).fit(X) for device in ("cpu", "cuda"))
    assert on_gpu.reconstruction_error(X).mean() == pytest.approx(on_cpu.reconstruction_error(X).mean(), rel=0.25)
    np.testing.assert_array_equal(on_gpu.transform(X), on_gpu.transform(X))


@pytest.mark.parametrize(("name", "value"), [("activation", "tanh"), ("code_activation", "logistic")])
def test_a_warm_start_keeps_the_activations(name, value):
    model = build(warm_start=True).fit(X)
    before = model.transform(X)
    with pytest.raises(ValueError, match=rf"cannot continue.*{name}='{value}'"):
        model.set_params(**{name: value}).fit(X)
    np.testing.assert_array_equal(model.transform(X), before)


def test_nested_parameters_that_fit_together_are_set_together():
    model = build(penalty=KLSparsity()).set_params(penalty__target=(0.1, 0.2), penalty__layer_weights=(1.0, 1.0))
    assert model.penalty == KLSparsity(target=(0.1, 0.2), layer_weights=(1.0, 1.0))


def test_a_single_held_out_row_does_not_explode():
    model = build(penalty=Contractive(), early_stopping=True).fit(X, X_val=X[:1])
    assert min(model.validation_scores_) > -1e4


def test_jacobians_need_a_fit():
    with pytest.raises(NotFittedError):
        build().encoder_jacobian(X)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SwapNoise("a"),
        lambda: DiffusionNoise("a"),
        lambda: L1(None),
        lambda: Contractive(weight="auto"),
        lambda: KLSparsity(target="a"),
        lambda: KLSparsity(layer_weights=1.0),
    ],
)
def test_what_is_no_number_is_named(make):
    with pytest.raises(TypeError, match=r"(level|weight|target|layer_weights)=.* must be a"):
        make()
