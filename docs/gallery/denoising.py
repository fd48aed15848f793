"""Take noise off images: a denoising autoencoder against PCA and a median filter.

A fifth of the pixels of each image of a digit is replaced by the darkest or the brightest value that this pixel takes
anywhere in the training images: salt and pepper. An autoencoder that sees such rows, but is to put out the clean ones, learns
what digits look like and which pixels do not fit (Vincent et al., 2008). It needs clean images to train on; the noise it
makes by itself.

The code may be larger than the image, because copying the input is no solution here. PCA does not know of noise; it takes
some off by leaving out components, and gets here the number of them that is best on the test images themselves, which favours
it. The median filter looks at 3 x 3 neighbours and knows nothing of digits.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import median_filter
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skvae import AutoencoderTransformer, SaltAndPepper

LEVEL = 0.2  # share of the pixels that are replaced


def add_salt_and_pepper(images, lowest, highest, seed):
    draw = np.random.default_rng(seed).random(images.shape)
    extreme = np.where(draw < LEVEL / 2, lowest, highest)
    return np.where(draw < LEVEL, extreme, images)


def psnr(images, clean):
    """Peak signal-to-noise ratio in decibels, with a peak of 1; ten decibels are a tenth of the squared error."""
    return -10 * np.log10(np.mean((images - clean) ** 2))


def denoise_with_pca(train, noisy, clean):
    """The reconstruction by as many components as are best."""
    reconstructions = []
    for k in (2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 32, 48):
        pca = PCA(k).fit(train)
        reconstructions.append(pca.inverse_transform(pca.transform(noisy)))
    return max(reconstructions, key=lambda images: psnr(images, clean))


def main(figure=None, small=False):
    train, clean = train_test_split(load_digits().data / 16, random_state=0)
    noisy = add_salt_and_pepper(clean, train.min(axis=0), train.max(axis=0), seed=0)

    autoencoder = AutoencoderTransformer(
        n_components=128 if small else 512,
        hidden_layer_sizes=(128,) if small else (512,),
        standardize=False,  # all pixels are in one unit
        corruption=SaltAndPepper(LEVEL),
        learning_rate_init=2e-3,
        max_iter=40 if small else 300,
        early_stopping=False,  # new noise in every epoch keeps it from learning the images by heart
        random_state=0,
    ).fit(train)

    results = {
        "clean": clean,
        "noisy": noisy,
        "median filter": median_filter(noisy.reshape(-1, 8, 8), size=(1, 3, 3)).reshape(noisy.shape),
        "PCA": denoise_with_pca(train, noisy, clean),
        "autoencoder": autoencoder.reconstruct(noisy),
    }
    decibels = {name: float(psnr(images, clean)) for name, images in results.items() if name != "clean"}
    print("PSNR on held-out images, dB")
    for name, value in decibels.items():
        print(f"{name:15} {value:5.1f}")

    plot(results, decibels)
    plt.savefig(figure, dpi=130) if figure else plt.show()
    plt.close()
    return decibels


def plot(results, decibels, n_images=12):
    _, axes = plt.subplots(len(results), figsize=(8, 3.6), layout="constrained")
    for ax, (name, images) in zip(axes, results.items(), strict=True):
        strip = np.pad(images[:n_images].reshape(-1, 8, 8), ((0, 0), (0, 0), (0, 1)), constant_values=np.nan)
        ax.imshow(strip.swapaxes(0, 1).reshape(8, -1)[:, :-1], cmap="gray", vmin=0, vmax=1)
        label = f"{name}\n{decibels[name]:.1f} dB" if name in decibels else name
        ax.set_ylabel(label, rotation=0, ha="right", va="center")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", help="file to draw to; a window where left out")
    parser.add_argument("--small", action="store_true", help="a smaller model, in a few seconds")
    main(**vars(parser.parse_args()))
