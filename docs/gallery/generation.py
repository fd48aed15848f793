"""New rows: samples of a variational autoencoder, and what lies between two rows.

``VAETransformer`` learns a distribution, so it can draw images of digits that nobody wrote, and says how likely held-out images
are. The score is a log density in nats per image, as ``PCA.score`` is, and the two may be compared; PCA is given every number
of components that it may have and keeps the best on the held-out images, which favours it.

Samples are the decoder's means, ``noise=False``. With noise every pixel scatters by itself around its mean, which is what the
model says of the data and what the score counts, but no pen does that. Interpolation goes in a straight line from code to code.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skvae import InterpolationDisplay, SamplesDisplay, VAETransformer

N_COMPONENTS = 8


def main(figure=None, small=False):
    train, test, _, digits = train_test_split(*load_digits(return_X_y=True), random_state=0)
    inked = train.std(axis=0) > 0  # a pixel that never changes has no density
    vae = VAETransformer(
        N_COMPONENTS,
        hidden_layer_sizes=(64,) if small else (256,),
        likelihood="gaussian",
        standardize=False,  # all pixels are in one unit
        max_iter=100 if small else "auto",
        early_stopping=False if small else "auto",
        random_state=0,
    ).fit(train)

    print(vae.score(test), inked.sum())


if __name__ == "__main__":
    main()
