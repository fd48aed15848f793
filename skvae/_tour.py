"""A tour of the package on tables that scikit-learn ships: ``python -m skvae``."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.linalg import subspace_angles
from scipy.stats import false_discovery_control
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import AEAnomalyDetector, AutoencoderTransformer, SaltAndPepper, VAETransformer, __version__

LINEAR_SETS: dict[str, tuple[Callable[..., Any], int]] = {
    "breast cancer": (load_breast_cancer, 5),
    "wine": (load_wine, 3),
}
SETS: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "breast cancer": (load_breast_cancer, (2, 8)),
    "digits": (load_digits, (8,)),
}
DENSITY_SETS: dict[str, tuple[Callable[..., Any], int]] = {
    "breast cancer": (load_breast_cancer, 5),
    "wine": (load_wine, 2),
}
PEAK = 16  # of a pixel


def main() -> None:
    """Print the report, section by section."""
    started = time.perf_counter()
    print(f"skvae {__version__}: autoencoders for people who use scikit-learn")
    linear_equals_pca()
    nonlinear_beats_pca()
    variational_has_a_density()
    denoising_takes_noise_off()
    errors_are_found_and_explained()
    print(f"\nThe tour took {time.perf_counter() - started:.0f} seconds.")


def linear_equals_pca() -> None:
    """A linear autoencoder against PCA, started at PCA and at random."""
    title(
        "A linear autoencoder is PCA",
        "It finds the same subspace with the same error: exactly if it starts at PCA, and by gradient\n"
        "descent from random weights.",
    )
    row("table", "code", "start", "error / PCA's", "largest angle", "seconds")
    for name, (load, k) in LINEAR_SETS.items():
        X = StandardScaler().fit_transform(load().data)
        pca = PCA(k).fit(X)
        for init in ("pca", "random"):
            model = AutoencoderTransformer(k, hidden_layer_sizes=(), init=init, random_state=0)
            seconds = timed(model.fit, X)
            ratio = squared_error(model, X) / squared_error(pca, X)
            decoder = model.module_.decoder.out.weight.detach().numpy()
            angle = np.degrees(subspace_angles(decoder, pca.components_.T)[0])
            row(name, k, init, f"{ratio:.6f}", f"{angle:.2g} deg", f"{seconds:.1f}")


def nonlinear_beats_pca() -> None:
    """The default autoencoder against PCA on rows that neither has seen."""
    title(
        "A nonlinear autoencoder reconstructs more from a code of the same size",
        "Squared errors on a quarter of the rows, which were held out. Columns are standardised, settings are\nthe defaults.",
    )
    row("table", "code", "PCA", "autoencoder", "ratio", "seconds")
    for name, (load, sizes) in SETS.items():
        train, test = train_test_split(load().data, random_state=0)
        varies = train.std(axis=0) > 0
        scaler = StandardScaler().fit(train[:, varies])
        train, test = scaler.transform(train[:, varies]), scaler.transform(test[:, varies])
        for k in sizes:
            model = AutoencoderTransformer(k, random_state=0)
            seconds = timed(model.fit, train)
            error, pca_error = squared_error(model, test), squared_error(PCA(k).fit(train), test)
            row(name, k, f"{pca_error:.2f}", f"{error:.2f}", f"{error / pca_error:.2f}", f"{seconds:.1f}")


def variational_has_a_density() -> None:
    """A linear variational autoencoder against probabilistic PCA, the default one against factor analysis too."""
    title(
        "A variational autoencoder has a likelihood, and draws new rows",
        "Log-likelihoods per row, in nats, of a quarter of the rows, which were held out. Columns are standardised.\n"
        "'linear - PCA' is the largest difference of any row between a linear model and PCA. 'over PCA' and 'over FA'\n"
        "are the average gains of the default model over PCA and over factor analysis.",
    )
    row("table", "code", "linear - PCA", "PCA", "over PCA", "over FA", "seconds")
    for name, (load, k) in DENSITY_SETS.items():
        train, test = train_test_split(load(as_frame=True).data, random_state=0)
        pca = make_pipeline(StandardScaler(), PCA(k)).fit(train)
        analysis = make_pipeline(StandardScaler(), FactorAnalysis(k)).fit(train)
        units = np.log(pca[0].scale_).sum()  # from a density of the columns as they are to one of standardised columns
        linear = VAETransformer(k, hidden_layer_sizes=()).fit(train)
        off = np.abs(linear.score_samples(test) + units - pca.score_samples(test)).max()
        vae = VAETransformer(k, random_state=0)
        seconds = timed(vae.fit, train)
        score, pca_score = vae.score(test) + units, pca.score(test)
        gains = f"{score - pca_score:+.2f}", f"{score - analysis.score(test):+.2f}"
        row(name, k, f"{off:.0e}", f"{pca_score:.2f}", *gains, f"{seconds:.1f}")
    show_new_row(vae, train, name)


def show_new_row(vae: VAETransformer, rows: pd.DataFrame, name: str) -> None:
    """One row drawn from a model beside the row of its table that is nearest in standard deviations."""
    new = vae.sample(1, random_state=0).iloc[0]
    nearest = rows.iloc[(((rows - new) / rows.std()) ** 2).sum(axis=1).argmin()]
    print(f"\n  {f'one new row of {name}':30}{'drawn':>15}{'nearest row':>15}")
    for column in rows:
        print(f"  {column:30}{new[column]:15.2f}{nearest[column]:15.2f}")


def denoising_takes_noise_off() -> None:
    """A denoising autoencoder against PCA at its best, on images with salt and pepper."""
    title(
        "A denoising autoencoder removes noise",
        "Held-out images of digits in which a fifth of the pixels is black or white. Signal-to-noise ratios in\n"
        "decibels: of the noisy images, after PCA with the best number of components, after a plain and after a\n"
        "denoising autoencoder of the same size.",
    )
    train, test = train_test_split(load_digits().data, random_state=0)
    noisy = with_salt_and_pepper(test, train)
    row("images", "as they are", "PCA", "plain", "denoising", "seconds")
    by_pca = max(decibels(restored(PCA(k).fit(train), noisy), test) for k in (8, 12, 16, 24))
    network: dict[str, Any] = {"hidden_layer_sizes": (256,), "standardize": False, "early_stopping": False, "random_state": 0}
    plain = AutoencoderTransformer(64, **network).fit(train)
    denoiser = AutoencoderTransformer(64, corruption=SaltAndPepper(0.2), **network)
    seconds = timed(denoiser.fit, train)
    by_plain, by_denoiser = (decibels(restored(model, noisy), test) for model in (plain, denoiser))
    row("digits", *(f"{value:.1f}" for value in (decibels(noisy, test), by_pca, by_plain, by_denoiser, seconds)))


def errors_are_found_and_explained() -> None:
    """A detector of anomalies on rows with a wrong cell each, among others without."""
    title(
        "A detector finds errors in a table, with p-values and reasons",
        "Of 60 held-out rows of the breast cancer table, six have one wrong cell. Rows are flagged at a false\n"
        "discovery rate of 0.1. Each is shown with the cell to blame, the value expected there, and the true value.",
    )
    train, test = train_test_split(load_breast_cancer(as_frame=True).data, test_size=60, random_state=0)
    spoiled, wrong = with_errors(test)
    detector = AEAnomalyDetector(support_fraction=1.0, random_state=0)
    seconds = timed(detector.fit, train)
    p = detector.p_values(spoiled)
    odd = np.flatnonzero(false_discovery_control(p) <= 0.1)
    contributions, expected = detector.explain(spoiled.iloc[odd], return_expected=True)
    blamed = contributions.idxmax(axis=1)
    row("row", "p-value", "value", "expected", "was", "to blame")
    for i in odd[np.argsort(p[odd], kind="stable")]:
        label = spoiled.index[i]
        column = blamed[label]
        values = (f"{frame.loc[label, column]:.4g}" for frame in (spoiled, expected, test))
        row(label, f"{p[i]:.4f}", *values, column)
    found = [label for label in spoiled.index[odd] if label in wrong]
    rightly = sum(blamed[label] == wrong[label] for label in found)
    others = f"{len(odd) - len(found)} of {len(test) - len(wrong)} other rows"
    print(f"\n  {len(found)} of {len(wrong)} errors are flagged, {rightly} with the right cell, and {others}.")
    print(f"  The fit took {seconds:.1f} seconds.")


def with_errors(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[int, str]]:
    """The first six rows with a decimal point in a wrong place, another column's value or one that cannot be; and where."""
    columns = ("mean radius", "mean texture", "mean concavity", "worst area", "worst symmetry", "worst texture")
    spoiled, wrong = rows.copy(), dict(zip(rows.index, columns, strict=False))
    for kind, (label, column) in enumerate(wrong.items()):
        errors = rows.loc[label, column] * 10, rows.loc[label, "mean perimeter"], -1.0
        spoiled.loc[label, column] = errors[kind % 3]
    return spoiled, wrong


def with_salt_and_pepper(rows: np.ndarray, train: np.ndarray) -> np.ndarray:
    """A fifth of the cells at the lowest or the highest value of their column."""
    draw = np.random.default_rng(0).random(rows.shape)
    return np.where(draw < 0.1, train.min(axis=0), np.where(draw < 0.2, train.max(axis=0), rows))


def decibels(images: np.ndarray, clean: np.ndarray) -> float:
    """Peak signal-to-noise ratio."""
    return float(-10 * np.log10(np.mean((images - clean) ** 2) / PEAK**2))


def restored(model: PCA | AutoencoderTransformer, X: np.ndarray) -> np.ndarray:
    """What a model makes of rows."""
    return model.inverse_transform(model.transform(X))


def squared_error(model: PCA | AutoencoderTransformer, X: np.ndarray) -> float:
    """Mean over rows of the squared reconstruction error."""
    return float(((X - restored(model, X)) ** 2).sum(axis=1).mean())


def timed(function: Callable[[np.ndarray], object], X: np.ndarray) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    function(X)
    return time.perf_counter() - started


def title(heading: str, explanation: str) -> None:
    """The heading of a section, and what it shows."""
    print(f"\n{heading}\n{'-' * len(heading)}\n{explanation}\n")


def row(*cells: object) -> None:
    """One line of a table: the first column to the left, the others to the right."""
    first, *rest = (str(cell) for cell in cells)
    print("  " + first.ljust(15) + "".join(cell.rjust(15) for cell in rest), flush=True)
