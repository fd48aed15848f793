"""
Describe images by a few parts
==============================

A code may have as many components as an image has pixels, or more, if few of
them are on at a time. Each component then stands for a part that some images
have, and a linear decoder adds the parts up: its columns, the *atoms*, are a
dictionary. There are three ways to a sparse code:

* ``n_nonzero_coefs=5`` keeps the five largest components of each row and sets
  all others to zero [1]_;
* ``L1`` charges every component for how far it moves the reconstruction;
* ``KLSparsity`` pulls the mean of each component over rows towards 0.05 [2]_.
"""

# sphinx_gallery_thumbnail_number = 2
import math

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split

from skvae import L1, AutoencoderTransformer, KLSparsity

train, test = train_test_split(load_digits().data / 16, random_state=0)
ways = {
    "5 largest": {"n_nonzero_coefs": 5, "code_activation": "relu"},
    "L1": {"penalty": L1(1.0), "code_activation": "relu"},
    "KLSparsity": {
        "penalty": KLSparsity(10.0, target=0.05),
        "code_activation": "logistic",
    },
}
models = {
    name: AutoencoderTransformer(
        64,
        hidden_layer_sizes=(),
        decoder_layer_sizes=(),
        init="random",  # PCA's axes are orthogonal, parts are not
        standardize=False,  # all pixels are in one unit
        max_iter=1500,
        early_stopping=False,
        random_state=0,
        **way,
    ).fit(train)
    for name, way in ways.items()
}

# %%
# A component counts as on above a tenth of its largest value; smaller values
# contribute, too. PCA uses all its components for every image. It is given as
# many as the sparse code has on per row on average, rounded up.


def explained(reconstructions):
    """Share of the variance of all pixels."""
    return r2_score(test, reconstructions, multioutput="variance_weighted")


numbers = {}
print("variance explained, held-out images")
print(f"{'':10}  on per row  sparse code  PCA of as many")
for name, model in models.items():
    on = model.transform(test) > 0.1 * model.transform(train).max(axis=0)
    n_on = on.sum(axis=1).mean()
    pca = PCA(math.ceil(n_on)).fit(train)
    by_pca = explained(pca.inverse_transform(pca.transform(test)))
    numbers[name] = n_on, explained(model.reconstruct(test)), by_pca
    print("{:10} {:11.1f} {:12.3f} {:15.3f}".format(name, *numbers[name]))

# %%
# With 5 of 64 atoms on, an image is restored better than by 5 components of
# PCA, because each image chooses its own. ``KLSparsity`` bounds the mean of
# each component, not how many components are on. About 15 are on a little in
# each row, and PCA with as many components restores as much.
#
# The atoms are strokes and parts of strokes. Blue takes ink away where other
# atoms put it. PCA's later components do not look like strokes.


def atoms(model):
    """What each component adds to the image at a value of 1."""
    return model.inverse_transform(np.eye(64)) - model.inverse_transform(
        np.zeros((1, 64))
    )


def draw(ax, images, n_across, limit):
    tiles = np.pad(
        images.reshape(-1, n_across, 8, 8),
        ((0, 0), (0, 0), (0, 1), (0, 1)),
        constant_values=np.nan,
    )
    mosaic = tiles.swapaxes(1, 2).reshape(-1, 9 * n_across)
    ax.imshow(mosaic, cmap="RdBu_r", vmin=-limit, vmax=limit)
    ax.set_axis_off()


dictionaries = {"PCA": PCA(36).fit(train).components_}
for name, model in models.items():
    effect = np.linalg.norm(atoms(model), axis=1)
    effect *= model.transform(train).mean(axis=0)
    dictionaries[name] = atoms(model)[np.argsort(-effect)[:36]]

fig, axes = plt.subplots(1, 4, figsize=(10, 2.9), layout="constrained")
for ax, (name, images) in zip(axes, dictionaries.items(), strict=True):
    draw(ax, images / np.abs(images).max(axis=1, keepdims=True), 6, 1.0)
    ax.set_title(name)

# %%
# Held-out images as sums of five parts. From left to right: the image, the sum,
# and its terms, a constant and five atoms.

model = models["5 largest"]
codes = model.transform(test[:6])
effect = codes * np.linalg.norm(atoms(model), axis=1)
largest = np.argsort(-effect, axis=1)[:, :5]
parts = np.take_along_axis(codes, largest, axis=1)[:, :, None]
parts = parts * atoms(model)[largest]
constant = model.inverse_transform(np.zeros((6, 64)))
whole = np.stack([test[:6], model.reconstruct(test[:6]), constant], axis=1)

fig, ax = plt.subplots(figsize=(6, 4.6), layout="constrained")
draw(ax, np.concatenate([whole, parts], axis=1).reshape(-1, 64), 8, 0.8)
plt.show()

# %%
# .. [1] A. Makhzani, B. Frey (2014). k-sparse autoencoders. *International
#    Conference on Learning Representations*.
# .. [2] A. Ng (2011). *Sparse autoencoder*. CS294A lecture notes, Stanford
#    University.
