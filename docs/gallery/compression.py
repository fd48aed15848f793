"""Compress images: bytes against quality, for codes of an autoencoder and of PCA, and JPEG.

A code is a compressed row once its numbers are rounded. Here each component is cut into 2^b equal steps over the range that
it has in the training images, and so takes b bits; k components take k b / 8 bytes per image. Different k and b may take the
same bytes, so each method is drawn at what is best for at most so many bytes, on the held-out images for all alike. No
entropy coding is done, which would save some more.

JPEG gets the same held-out images in one picture, so that its header counts once; its 8 x 8 blocks are exactly the images. It
needs no training and serves all images, where the other two serve images like those of the training. The size of the model is
not in the curves. That of the largest decoder is printed, with the number of images from which on it and the codes together
are smaller than JPEG's file. The grey levels of these images are 17, so that plain numbers of log2(17) bits take 33 bytes.
"""

import argparse
from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skvae import AutoencoderTransformer

BITS = (2, 3, 4, 5, 6, 8)  # per component


def psnr(images, clean):
    """Peak signal-to-noise ratio in decibels, with a peak of 1."""
    return float(-10 * np.log10(np.mean((images - clean) ** 2)))


def quantized(codes, bits, low, high):
    """The middle of the step that each number falls into."""
    steps = 2**bits
    index = np.clip(np.floor((codes - low) / (high - low) * steps), 0, steps - 1)
    return low + (index + 0.5) * (high - low) / steps


def by_codes(model, train, test):
    """Bytes per image and PSNR for each number of bits."""
    of_train, codes = model.fit_transform(train), model.transform(test)
    low, high = of_train.min(axis=0), of_train.max(axis=0)
    restored = {bits: model.inverse_transform(quantized(codes, bits, low, high)) for bits in BITS}
    return [(codes.shape[1] * bits / 8, psnr(images, test)) for bits, images in restored.items()]


def by_jpeg(test, quality):
    n_across = 18
    blank = np.zeros((-len(test) % n_across, 64))
    mosaic = np.concatenate([test, blank]).reshape(-1, n_across, 8, 8).swapaxes(1, 2).reshape(-1, 8 * n_across)
    file = BytesIO()
    Image.fromarray(np.rint(255 * mosaic).astype(np.uint8)).save(file, "jpeg", quality=quality, optimize=True)
    restored = np.asarray(Image.open(file)).reshape(-1, 8, n_across, 8).swapaxes(1, 2).reshape(-1, 64)[: len(test)] / 255
    return len(file.getvalue()) / len(test), psnr(restored, test)


def envelope(points):
    """Those that no other one with at most as many bytes matches."""
    best = []
    for point in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or point[1] > best[-1][1]:
            best.append(point)
    return np.array(best)


def main(figure=None, small=False):
    train, test = train_test_split(load_digits().data / 16, random_state=0)
    points = {"JPEG": [by_jpeg(test, quality) for quality in range(5, 100, 5)], "PCA": [], "autoencoder": []}
    for k in (4, 8) if small else (2, 4, 8, 12, 16, 24, 32):
        points["PCA"] += by_codes(PCA(k), train, test)
        # Pixels are in one unit, so they are not standardised.
        autoencoder = AutoencoderTransformer(
            k,
            hidden_layer_sizes=(64,) if small else (256,),
            standardize=False,
            max_iter=80 if small else "auto",
            early_stopping=False if small else "auto",
            random_state=0,
        )
        points["autoencoder"] += by_codes(autoencoder, train, test)
    curves = {name: envelope(values) for name, values in points.items()}

    targets = (16, 18) if small else (16, 18, 20, 22, 24)
    size = 4 * sum(weights.numel() for weights in autoencoder.module_.decoder.parameters())
    needed = {name: {} for name in curves}
    print("bytes per image for a PSNR of at least\n     " + "".join(f"{name:>12}" for name in curves) + "  pays from, images")
    for db in targets:
        for name, curve in curves.items():
            needed[name][db] = float(next((n_bytes for n_bytes, reached in curve if reached >= db), np.nan))
        row = [needed[name][db] for name in curves]
        print(f"{db} dB" + "".join(f"{n_bytes:12.1f}" for n_bytes in row) + f"{size / (row[0] - row[-1]):19,.0f}")
    print(f"largest decoder, that of k = {k}: {size / 1000:.0f} kB at 4 bytes per weight")

    plot(curves)
    plt.savefig(figure, dpi=130) if figure else plt.show()
    plt.close()
    return needed


def plot(curves):
    _, ax = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
    styles = {"JPEG": ("^:", "black"), "PCA": ("s--", "#D55E00"), "autoencoder": ("o-", "#0072B2")}
    for name, curve in curves.items():
        style, color = styles[name]
        ax.plot(*curve.T, style, color=color, label=name, markersize=5)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set(xlabel="bytes per image (a byte per pixel: 64)", ylabel="PSNR on held-out images (dB)")
    ax.legend()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", help="file to draw to; a window where left out")
    parser.add_argument("--small", action="store_true", help="two short fits, in a few seconds")
    main(**vars(parser.parse_args()))
