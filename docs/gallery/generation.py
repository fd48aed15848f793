"""New rows: samples of a variational autoencoder, and what lies between two rows.

``VAETransformer`` learns a distribution, so it can draw images of digits that nobody wrote, and says how likely held-out
images are. With ``likelihood="gaussian"`` the score is a log density in nats per image, as ``PCA.score`` is, so that the two
may be compared at the same number of components.

For pixels between 0 and 1 there is ``likelihood="bernoulli"``, whose means stay between 0 and 1. Its samples have fewer
blotches and are softer. Its score is a cross-entropy and stands beside no density. How near samples are to digits is measured
by the distance to the nearest training image; that of held-out images is the reference, and samples much nearer would be
copies. The measure is kind to soft images.

Samples are the decoder's means, ``noise=False``. With noise each pixel scatters by itself, which is what the model says of
the data, but no pen does that. Interpolation goes from code to code in a straight line.
"""

import argparse

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import train_test_split

from skvae import InterpolationDisplay, SamplesDisplay, VAETransformer


def main(figure=None, small=False):
    train, test, _, digits = train_test_split(*load_digits(return_X_y=True), random_state=0)
    train, test = train / 16, test / 16
    settings = {"standardize": False, "random_state": 0}  # all pixels are in one unit
    if small:
        settings |= {"max_iter": 100, "early_stopping": False}

    scores = {}
    print(f"log density of held-out images, nats\n{'k':>3} {'PCA':>7} {'VAE':>7}")
    for k in (4,) if small else (2, 4, 8, 16):
        gaussian = VAETransformer(k, likelihood="gaussian", **settings).fit(train)
        scores[k] = {"PCA": float(PCA(k).fit(train).score(test)), "VAE": gaussian.score(test)}
        print(f"{k:3} {scores[k]['PCA']:7.1f} {scores[k]['VAE']:7.1f}")

    k = 8
    models = {
        "probabilistic PCA": VAETransformer(k, hidden_layer_sizes=(), likelihood="gaussian", standardize=False),
        "VAE, gaussian": VAETransformer(k, likelihood="gaussian", **settings),
        "VAE, bernoulli": VAETransformer(k, likelihood="bernoulli", **settings),
    }
    images = {name: model.fit(train).sample(400, random_state=0, noise=False) for name, model in models.items()}
    images["held-out images"] = test
    distances = {name: float(pairwise_distances(rows, train).min(axis=1).mean()) for name, rows in images.items()}
    print(f"distance to the nearest training image, k = {k}")
    for name, distance in distances.items():
        print(f"{name:18} {distance:.2f}")

    plot(models, images, test, digits)
    plt.savefig(figure, dpi=130) if figure else plt.show()
    plt.close()
    return {"scores": scores, "distances": distances}


def plot(models, images, test, digits):
    _, axes = plt.subplots(2, 2, figsize=(8.4, 8.2), layout="constrained")
    for ax, name in zip(axes.flat, models, strict=False):
        SamplesDisplay(images[name][:64], image_shape=(8, 8)).plot(ax, vmin=0, vmax=1)
        ax.set(title=f"samples: {name}", xlabel="")
    first = [test[digits == digit][0] for digit in range(10)]
    vae, ax = models["VAE, bernoulli"], axes[1, 1]
    InterpolationDisplay.from_estimator(vae, first[:8], first[2:], n_steps=8, image_shape=(8, 8), ax=ax, vmin=0, vmax=1)
    ax.set(title="from digit to digit: VAE, bernoulli", ylabel="")
    ax.set_yticks(ax.get_yticks(), [f"{digit} to {digit + 2}" for digit in range(8)])
    ax.set_xticks([])
    ax.tick_params(length=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", help="file to draw to; a window where left out")
    parser.add_argument("--small", action="store_true", help="short fits, in a few seconds")
    main(**vars(parser.parse_args()))
