"""
An autoencoder next to PCA
==========================

PCA and an autoencoder both compress a row to a few numbers and restore the row
from them. PCA restores along straight lines, and an autoencoder along curved
surfaces, so it needs fewer numbers for the same error wherever the columns
depend on each other in a nonlinear way.

Here both compress images of digits, 64 pixels each, and are judged on images
that they have not seen.
"""

# sphinx_gallery_thumbnail_number = 2
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skvae import AutoencoderTransformer

train, test = train_test_split(load_digits().data / 16, random_state=0)

# %%
# Both have the same interface. All pixels are in one unit, so they are not
# standardised. The error of the mean image is the unit of the errors below.

sizes = (2, 4, 8, 16)
restored, errors = {}, {"PCA": [], "autoencoder": []}
for k in sizes:
    models = {
        "PCA": PCA(k),
        "autoencoder": AutoencoderTransformer(
            k, standardize=False, random_state=0
        ),
    }
    for name, model in models.items():
        codes = model.fit(train).transform(test)
        restored[name, k] = model.inverse_transform(codes)
        error = ((restored[name, k] - test) ** 2).mean()
        errors[name].append(error / ((train.mean(axis=0) - test) ** 2).mean())

print("share of the variance that is lost, held-out images")
print(" k    PCA  autoencoder")
for k, *pair in zip(sizes, *errors.values(), strict=True):
    print("{:2} {:6.3f} {:12.3f}".format(k, *pair))

# %%
# The autoencoder starts as PCA and keeps what training adds only if held-out
# rows are restored better. On small or linear tables the result is often PCA
# itself.

fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for (name, values), style in zip(errors.items(), ("s--", "o-"), strict=True):
    ax.plot(sizes, values, style, label=name)
ax.set_xscale("log", base=2)
ax.set_xticks(sizes, sizes)
ax.set(xlabel="numbers per image", ylabel="share of the variance lost")
ax.legend()

# %%
# The first twelve held-out images, restored from 8 numbers each.

rows = {"images": test}
rows |= {f"restored by {name}": restored[name, 8] for name in errors}
fig, axes = plt.subplots(3, figsize=(6.4, 2.9), layout="constrained")
for ax, (title, images) in zip(axes, rows.items(), strict=True):
    squares = images[:12].reshape(12, 8, 8)
    tiles = np.pad(squares, ((0, 0), (0, 0), (0, 1)), constant_values=np.nan)
    ax.imshow(np.hstack(tiles)[:, :-1], cmap="gray", vmin=0, vmax=1)
    ax.set_title(title, fontsize="medium")
    ax.set_axis_off()
plt.show()
