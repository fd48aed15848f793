"""The deep autoencoder of Hinton & Salakhutdinov (Science 2006) on MNIST, 30 numbers per image.

Protocol: the official split, pixels in [0, 1]; squared error summed over the pixels of a test image, mean over the 10,000 test
images. PCA with 30 components has 13.87. The paper's 784-1000-500-250-30 network, pretrained layer by layer with restricted
Boltzmann machines, has 3.00. Ours is the AutoencoderTransformer of the given settings on pixels that are not standardised,
which starts at PCA and is trained end to end.

By default a tenth of the training images is held out to choose the epoch; ``--no-early-stopping`` trains on all of them to the
last epoch. ``--figure`` shows ten test images and what becomes of them. ``--rows`` takes fewer training images, to try out.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA

import data
from images import add_training_options, draw_strips, one_of_each, parameters, settings
from report import Rows, begin, parser, say, say_table, timed
from skvae import AutoencoderTransformer

CODE_SIZE = 30
HINTON_SALAKHUTDINOV = 3.00


def error(reconstruction: np.ndarray, images: np.ndarray) -> float:
    """Squared error summed over pixels, mean over images."""
    return float(np.mean(np.sum((reconstruction - images) ** 2, axis=1, dtype=np.float64)))


def autoencoder(args: argparse.Namespace) -> AutoencoderTransformer:
    return AutoencoderTransformer(CODE_SIZE, standardize=False, **parameters(args))


def options() -> argparse.ArgumentParser:
    result = parser(__doc__, hidden=(16,), epochs=2)
    data.add_options(result, sets=False)
    add_training_options(result, hidden=(1000, 500, 250), epochs=100, batch_size=256, lr=1e-3, early_stopping=True)
    result.add_argument("--figure", type=Path, metavar="FILE.png", help="draw ten images and their reconstructions")
    return result


def main() -> None:
    args = options().parse_args()
    begin(args)
    train, test, digits = data.mnist(args.data)
    train = np.random.default_rng(args.seed).permutation(train)[: args.rows]
    pca, pca_seconds = timed(lambda: PCA(CODE_SIZE, svd_solver="covariance_eigh").fit(train))
    by_pca = pca.inverse_transform(pca.transform(test))
    say(f"PCA: {error(by_pca, test):.2f}, {pca_seconds / 60:.2f} minutes")
    say(f"training with {settings(args)}")
    model, seconds = timed(lambda: autoencoder(args).fit(train))
    ours = model.reconstruct(test)
    result = {"error": error(ours, test), "minutes": seconds / 60, "best_epoch": model.best_iter_, "epochs_run": model.n_iter_}
    Rows(args.json).add(settings(args) | result | {"ran_on": str(model.device_), "pca_error": error(by_pca, test)})
    say(f"best epoch {model.best_iter_} of {model.n_iter_} on {model.device_}")
    network = "-".join(map(str, (784, *args.hidden, CODE_SIZE)))
    lines = [
        ["PCA", CODE_SIZE, f"{error(by_pca, test):.2f}", f"{pca_seconds / 60:.2f}"],
        ["skvae", network, f"{result['error']:.2f}", f"{result['minutes']:.1f}"],
        ["Hinton & Salakhutdinov 2006", "784-1000-500-250-30", f"{HINTON_SALAKHUTDINOV:.2f}", ""],
    ]
    say_table(["model", "network", "squared error per test image", "minutes"], lines)
    if args.figure:
        shown = one_of_each(digits)
        draw_strips({"original": test[shown], "PCA": by_pca[shown], "skvae": ours[shown]}, args.figure)


if __name__ == "__main__":
    main()
