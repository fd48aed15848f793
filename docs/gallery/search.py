"""Search by example: the images most like a given one, by the distance between codes.

A search compares a query with every stored row, so short codes make it fast and small: four numbers in place of the 64 pixels
of a digit. Whether near codes mean like images is measured by the labels, which no model saw: the share of a query's ten
nearest training images that show the same digit (precision at 10).

The autoencoder is trained with noise on its input. It then has to give nearly the same code to an image and to what could be
the same image, and distances between codes say more. PCA has codes of the same size; the distance between pixels is the
reference without a code.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors

from skvae import AutoencoderTransformer, GaussianNoise

N_NEIGHBORS = 10
SHOWN_COMPONENTS = 4  # of the codes whose neighbours the figure shows


def neighbors(stored, queries):
    """For each query, the indices of its nearest stored rows, nearest first."""
    return NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(stored).kneighbors(queries, return_distance=False)


def main(figure=None, small=False):
    train, test, digits, test_digits = train_test_split(*load_digits(return_X_y=True), random_state=0)
    sizes = (2, SHOWN_COMPONENTS) if small else (2, SHOWN_COMPONENTS, 8, 16, 32)

    def precision(found):
        return float(np.mean(digits[found] == test_digits[:, None]))

    found = {"pixels": neighbors(train, test)}
    precisions = {"pixels": precision(found["pixels"])}
    print(f"precision at {N_NEIGHBORS}\n{'k':>3} {'PCA':>6} {'autoencoder':>12}")
    for k in sizes:
        models = {
            "PCA": PCA(k, random_state=0),
            "autoencoder": AutoencoderTransformer(
                k,
                standardize=False,  # all pixels are in one unit
                corruption=GaussianNoise(0.5),
                max_iter=40 if small else "auto",
                early_stopping=False,  # the aim is not the reconstruction that held-out rows would judge
                random_state=0,
            ),
        }
        for name, model in models.items():
            found[name, k] = neighbors(model.fit_transform(train), model.transform(test))
            precisions[name, k] = precision(found[name, k])
        print(f"{k:3} {precisions['PCA', k]:6.3f} {precisions['autoencoder', k]:12.3f}")
    print(f"{64:3} {precisions['pixels']:6.3f} (pixels)")

    plot(train, test, digits, test_digits, found, precisions, sizes)
    plt.savefig(figure, dpi=130) if figure else plt.show()
    plt.close()
    return precisions


def plot(train, test, digits, test_digits, found, precisions, sizes, n_shown=8):
    _, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), width_ratios=(1.9, 1), layout="constrained")
    methods = ("PCA", "autoencoder")
    queries = [np.flatnonzero(test_digits == digit)[0] for digit in range(10)]
    starts = {"query": 0, methods[0]: 11, methods[1]: 22 + 9 * (n_shown - 1)}  # left edges, in pixels
    mosaic = np.full((9 * len(queries) - 1, starts[methods[1]] + 9 * n_shown - 1), np.nan)
    for line, query in enumerate(queries):
        top = 9 * line
        mosaic[top : top + 8, :8] = test[query].reshape(8, 8)
        for method in methods:
            for i, row in enumerate(found[method, SHOWN_COMPONENTS][query, :n_shown]):
                edge = starts[method] + 9 * i
                mosaic[top : top + 8, edge : edge + 8] = train[row].reshape(8, 8)
                if digits[row] != test_digits[query]:  # a frame and a cross
                    left.add_patch(plt.Rectangle((edge - 0.5, top - 0.5), 8, 8, fill=False, color="#E69F00", linewidth=2))
                    left.plot([edge, edge + 7, np.nan, edge, edge + 7], [top, top + 7, np.nan, top + 7, top], color="#E69F00")
    left.imshow(mosaic, cmap="gray")
    centres = [3.5, *(starts[method] + 4.5 * n_shown - 1 for method in methods)]
    left.set_xticks(centres, ["query", *(f"nearest by {method}, k = {SHOWN_COMPONENTS}" for method in methods)])
    left.set(yticks=[], title="crossed: another digit than the query")
    left.tick_params(length=0)
    left.spines[:].set_visible(False)

    for method, style in zip(methods, ("s--", "o-"), strict=True):
        color = "#D55E00" if method == "PCA" else "#0072B2"
        right.plot(sizes, [precisions[method, k] for k in sizes], style, color=color, label=method)
    right.axhline(precisions["pixels"], color="black", linestyle=":", label="pixels (64 numbers)")
    right.set_xscale("log", base=2)
    right.set_xticks(sizes, sizes)
    right.set(xlabel="components of the code, k", ylabel=f"precision at {N_NEIGHBORS}")
    right.legend()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", help="file to draw to; a window where left out")
    parser.add_argument("--small", action="store_true", help="a few short fits, in a few seconds")
    main(**vars(parser.parse_args()))
