"""
Draw new rows and score rows
============================

A variational autoencoder learns a distribution. It draws images of digits that
nobody wrote, and says how likely held-out images are.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import train_test_split

from skvae import InterpolationDisplay, SamplesDisplay, VAETransformer

train, test, _, digits = train_test_split(
    *load_digits(return_X_y=True), random_state=0
)
train, test = train / 16, test / 16

# %%
# Log densities
# -------------
# With ``likelihood="gaussian"`` the score is a log density in nats per image,
# like ``PCA.score``, so both can be compared at one size of the code.

settings = {"standardize": False, "random_state": 0}  # pixels have one unit
gaussian, scores = {}, {}
print("log density of held-out images, nats\n k    PCA    VAE")
for k in (4, 8, 16):
    vae = VAETransformer(k, likelihood="gaussian", **settings).fit(train)
    scores[k] = {"PCA": PCA(k).fit(train).score(test), "VAE": vae.score(test)}
    gaussian[k] = vae
    print("{:2} {PCA:6.1f} {VAE:6.1f}".format(k, **scores[k]))

# %%
# PCA's score keeps rising with more components, to 38.0 at 40 (not computed
# here). Pixels at the edge are almost always blank, and a model with less noise
# in them gives them a higher density.
#
# New images
# ----------
# For pixels between 0 and 1, ``likelihood="bernoulli"`` keeps the means between
# 0 and 1. Its samples have fewer blotches and are softer. Its score is a
# cross-entropy and cannot be compared with a density.
#
# The samples are means of the decoder, ``noise=False``. With noise, each pixel
# would vary independently of the others. The model assumes this, but pixels of
# handwriting do not.
#
# The distance to the nearest training image says how near samples are to
# digits. The distance of held-out images is the reference: much nearer samples
# would be copies. Soft images have an advantage in this measure.

models = {
    "probabilistic PCA": VAETransformer(
        8, hidden_layer_sizes=(), likelihood="gaussian", standardize=False
    ).fit(train),
    "VAE, gaussian": gaussian[8],
    "VAE, bernoulli": VAETransformer(8, likelihood="bernoulli", **settings).fit(
        train
    ),
}
images = {
    name: model.sample(400, random_state=0, noise=False)
    for name, model in models.items()
}
distances = {}
print("distance to the nearest training image")
for name, rows in {**images, "held-out images": test}.items():
    distances[name] = pairwise_distances(rows, train).min(axis=1).mean()
    print(f"{name:18} {distances[name]:.2f}")

# %%
# Some samples of all three models are not digits, because the prior also covers
# the codes between digits.

fig, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
for ax, (name, rows) in zip(axes, images.items(), strict=True):
    display = SamplesDisplay(rows[:64], image_shape=(8, 8))
    display.plot(ax, vmin=0, vmax=1)
    ax.set(title=name, xlabel="")

# %%
# Between two digits
# ------------------
# Interpolation goes from code to code on a straight line.

first = [test[digits == digit][0] for digit in range(10)]
fig, ax = plt.subplots(figsize=(5, 4.6), layout="constrained")
InterpolationDisplay.from_estimator(
    models["VAE, bernoulli"],
    first[:8],
    first[2:],
    n_steps=8,
    image_shape=(8, 8),
    ax=ax,
    vmin=0,
    vmax=1,
)
plt.show()
