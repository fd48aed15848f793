"""Salt-and-pepper noise taken off images of digits.

Protocol: a fifth of the cells of each held-out image replaced by the lowest or the highest value of that pixel among the
training images, with equal odds; peak signal-to-noise ratio from the squared error pooled over all cells, with a peak of 1.
Digits: 75/25 splits. MNIST: the official split. One setting of ours for all: a code of 512, one hidden layer of 512 on either
side, pixels not standardised, ``corruption=SaltAndPepper(0.2)``; ``--lr`` and ``--epochs`` are the same for the plain
autoencoder beside it, which differs by the corruption alone.

Rivals: PCA at the number of components that is best on the held-out noisy images themselves, which favours it; a linear ridge
denoiser from noisy to clean training images (five noisy copies of each of the small set); a median filter of 3 x 3 pixels,
one pass or two, whichever is better on the held-out images.
"""

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.ndimage import median_filter
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

import data
from images import add_split_options, splits
from report import Row, Rows, begin, mean, parser, say, say_table, timed
from skvae import AutoencoderTransformer, SaltAndPepper

LEVEL = 0.2
COPIES = 5  # noisy ones of each training image for the ridge
COMPONENTS = (4, 8, 12, 16, 24, 32, 48, 64, 96)


def psnr(images: np.ndarray, clean: np.ndarray) -> float:
    """In decibels, with a peak of 1."""
    return float(-10 * np.log10(np.mean((images - clean) ** 2, dtype=np.float64)))


class Noise:
    """Salt and pepper to the extremes of each column of some rows."""

    def __init__(self, rows: np.ndarray, seed: int) -> None:
        self.lowest, self.highest = rows.min(axis=0), rows.max(axis=0)
        self.rng = np.random.default_rng(seed)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        draw = self.rng.random(rows.shape, dtype=np.float32)
        extreme = np.where(draw < LEVEL / 2, self.lowest, self.highest)
        return np.where(draw < LEVEL, extreme, rows).astype(rows.dtype)


def by_pca(train: np.ndarray, noisy: np.ndarray, clean: np.ndarray, noise: Noise) -> np.ndarray:
    """At the number of components that is best on the held-out images."""
    pca = PCA(min(COMPONENTS[-1], train.shape[1] - 1), svd_solver="covariance_eigh").fit(train)
    codes = pca.transform(noisy)
    results = [codes[:, :k] @ pca.components_[:k] + pca.mean_ for k in COMPONENTS if k <= pca.n_components_]
    return max(results, key=lambda result: psnr(result, clean))


def by_ridge(train: np.ndarray, noisy: np.ndarray, clean: np.ndarray, noise: Noise) -> np.ndarray:
    rows = np.concatenate([train] * (COPIES if len(train) < 10_000 else 1))
    return Ridge(alpha=1.0).fit(noise(rows), rows).predict(noisy)


def by_median(train: np.ndarray, noisy: np.ndarray, clean: np.ndarray, noise: Noise) -> np.ndarray:
    side = int(noisy.shape[1] ** 0.5)
    once = median_filter(noisy.reshape(-1, side, side), size=(1, 3, 3))
    twice = median_filter(once, size=(1, 3, 3))
    return max((images.reshape(noisy.shape) for images in (once, twice)), key=lambda result: psnr(result, clean))


def measure(denoise: Callable[..., np.ndarray], train: np.ndarray, noisy: np.ndarray, clean: np.ndarray, noise: Noise) -> Row:
    result, seconds = timed(lambda: denoise(train, noisy, clean, noise))
    return {"psnr": psnr(result, clean), "seconds": seconds}


def methods(args: argparse.Namespace) -> dict[str, Callable[..., np.ndarray]]:
    def by_autoencoder(corruption: SaltAndPepper | None) -> Callable[..., np.ndarray]:
        def denoise(train: np.ndarray, noisy: np.ndarray, clean: np.ndarray, noise: Noise) -> np.ndarray:
            network = {"n_components": args.width, "hidden_layer_sizes": (args.width,), "standardize": False}
            options = {"corruption": corruption, "random_state": 0, "verbose": args.verbose}
            training = {"learning_rate_init": args.lr, "max_iter": args.epochs}
            return AutoencoderTransformer(**network | options | training).fit(train).reconstruct(noisy)

        return denoise

    return {
        "nothing": lambda train, noisy, clean, noise: noisy,
        "PCA, best k": by_pca,
        "median filter": by_median,
        "ridge": by_ridge,
        "plain autoencoder": by_autoencoder(None),
        "denoising autoencoder": by_autoencoder(SaltAndPepper(LEVEL)),
    }


def options() -> argparse.ArgumentParser:
    result = parser(__doc__, splits=1, epochs=1, width=16)
    add_split_options(result)
    result.add_argument("--width", type=int, default=512, metavar="N", help="of the code and the hidden layers; default 512")
    result.add_argument("--lr", type=lambda text: text if text == "auto" else float(text), default=2e-3)
    return result


def main() -> None:
    args = options().parse_args()
    begin(args)
    rows = Rows(args.json)
    results = []
    for name, seed in splits(args):
        images = data.images(name, args.data, seed, args.rows)
        train, clean = images.train, images.test
        noise = Noise(train, seed)
        noisy = noise(clean)
        for method, denoise in methods(args).items():
            row = rows.once(partial(measure, denoise, train, noisy, clean, noise), set=name, split=seed, method=method)
            say(f"{name} {seed} {method}: {row['psnr']:.2f} dB, {row['seconds']:.1f} s")
            results.append(row)
    table = []
    for name, method in dict.fromkeys((row["set"], row["method"]) for row in results):
        those = [row for row in results if (row["set"], row["method"]) == (name, method)]
        table.append([name, method, f"{mean(those, 'psnr'):.2f}", f"{mean(those, 'seconds'):.1f}"])
    say_table(["images", "method", "PSNR, dB", "seconds"], table)


if __name__ == "__main__":
    main()
