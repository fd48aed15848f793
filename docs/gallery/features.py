"""Codes as features: a classifier on a few numbers in place of all columns.

The estimator stands in a pipeline before a logistic regression, so that in each fold of the cross-validation the code is
learnt from the training rows alone. It never sees the labels. The accuracy says how much of what tells digits apart is left
in a code of 2, 4 or 8 numbers and can be read off by straight lines; PCA has codes of the same size.

As in the search, noise on the input makes the autoencoder place like images at near codes. With more components PCA catches
up: 16 of them keep most of what 64 pixels hold.
"""

import argparse

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import AutoencoderTransformer, GaussianNoise, LatentSpaceDisplay


def transformers(k, small):
    autoencoder = AutoencoderTransformer(
        k,
        standardize=False,  # all pixels are in one unit
        corruption=GaussianNoise(0.5),
        max_iter=60 if small else "auto",
        early_stopping=False,  # the aim is not the reconstruction that held-out rows would judge
        random_state=0,
    )
    return {"PCA": PCA(k, random_state=0), "autoencoder": autoencoder}


def main(figure=None, small=False):
    X, y = load_digits(return_X_y=True)
    sizes = (2, 4) if small else (2, 4, 8, 16)
    folds = StratifiedKFold(2 if small else 5, shuffle=True, random_state=0)

    accuracies = {}
    print(f"cross-validated accuracy and its deviation over folds\n{'k':>3} {'PCA':>15} {'autoencoder':>15}")
    for k in sizes:
        for name, transformer in transformers(k, small).items():
            pipeline = make_pipeline(transformer, StandardScaler(), LogisticRegression(max_iter=5000))
            accuracies[name, k] = cross_val_score(pipeline, X, y, cv=folds)
        print(
            f"{k:3}",
            *(f"{accuracies[name, k].mean():7.3f} +- {accuracies[name, k].std():.3f}" for name in transformers(k, small)),
        )

    plot(X, y, accuracies, sizes, small)
    plt.savefig(figure, dpi=130) if figure else plt.show()
    plt.close()
    return {key: float(values.mean()) for key, values in accuracies.items()}


def plot(X, y, accuracies, sizes, small):
    fig, (left, *middle) = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
    for name, style, color in (("PCA", "s--", "#D55E00"), ("autoencoder", "o-", "#0072B2")):
        means = [accuracies[name, k].mean() for k in sizes]
        deviations = [accuracies[name, k].std() for k in sizes]
        left.errorbar(sizes, means, deviations, fmt=style, color=color, capsize=3, label=name)
    left.set_xscale("log", base=2)
    left.set_xticks(sizes, sizes)
    left.set(xlabel="components of the code, k", ylabel="accuracy of logistic regression")
    left.legend(loc="lower right")

    train, test, _, y_test = train_test_split(X, y, random_state=0)
    for ax, (name, transformer) in zip(middle, transformers(2, small).items(), strict=True):
        display = LatentSpaceDisplay(transformer.fit(train).transform(test), y_test).plot(ax)
        ax.set(title=f"{name}, k = 2: held-out images", xticks=[], yticks=[])
        display.legend_.remove()
    fig.legend(*middle[0].get_legend_handles_labels(), loc="outside right center", title="digit")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", help="file to draw to; a window where left out")
    parser.add_argument("--small", action="store_true", help="a few short fits, in a few seconds")
    main(**vars(parser.parse_args()))
