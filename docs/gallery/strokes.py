"""Parts of images: sparse codes and the dictionaries that they draw on.

A code may have as many components as the image has pixels, or more, if only few of them are on at a time. Each component then
stands for a part that some images have and most have not, and a linear decoder adds up the parts: its columns, the atoms, are
a dictionary. Three ways to keep a code sparse:

* ``n_nonzero_coefs=5`` keeps the five largest components of each row and sets all others to zero (Makhzani and Frey, 2014);
* ``L1`` charges every component for how far it moves the reconstruction;
* ``KLSparsity`` asks that each component be on in 5 % of the rows, of a code between 0 and 1 (Ng, 2011).

PCA uses all its components for every image. It is given as many as the sparse code has on in the mean, rounded up, so that
both describe an image by as many numbers; the sparse code also says which ones.
"""

import argparse
import math

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split

from skvae import L1, AutoencoderTransformer, KLSparsity

N_ATOMS = 64
WAYS = {
    "5 largest": {"n_nonzero_coefs": 5, "code_activation": "relu"},
    "L1": {"penalty": L1(1.0), "code_activation": "relu"},
    "KLSparsity": {"penalty": KLSparsity(10.0, target=0.05), "code_activation": "logistic"},
}


def explained(images, reconstructions):
    """Share of the variance over all pixels."""
    return float(r2_score(images, reconstructions, multioutput="variance_weighted"))


def main(figure=None, small=False):
    train, test = train_test_split(load_digits().data / 16, random_state=0)
    models, numbers = {}, {}
    print(f"{N_ATOMS} atoms      used   on per row   explained   by PCA of as many")
    for name, way in WAYS.items():
        models[name] = model = AutoencoderTransformer(
            N_ATOMS,
            hidden_layer_sizes=(),
            decoder_layer_sizes=(),
            init="random",  # a start at PCA has 64 axes at right angles, which are no parts
            standardize=False,  # all pixels are in one unit
            max_iter=150 if small else 1500,
            learning_rate_init=3e-2 if small else "auto",
            early_stopping=False,
            random_state=0,
            **way,
        ).fit(train)
        on = model.transform(test) > 0.1 * model.transform(train).max(axis=0)  # a tenth of the component's largest value
        n_on = float(on.sum(axis=1).mean())
        pca = PCA(math.ceil(n_on)).fit(train)
        numbers[name] = {
            "used": int(on.any(axis=0).sum()),
            "on": n_on,
            "explained": explained(test, model.reconstruct(test)),
            "pca": explained(test, pca.inverse_transform(pca.transform(test))),
        }
        print("{:12} {used:5} {on:12.1f} {explained:11.3f} {pca:13.3f} ({})".format(name, pca.n_components_, **numbers[name]))

    plot(models, train, test)
    plt.savefig(figure, dpi=130) if figure else plt.show()
    plt.close()
    return numbers


def atoms(model):
    """What each component adds to the image at a value of 1."""
    return model.inverse_transform(np.eye(N_ATOMS)) - model.inverse_transform(np.zeros((1, N_ATOMS)))


def draw(ax, images, n_across, **kwargs):
    """Images in lines of so many."""
    padded = np.pad(images.reshape(-1, n_across, 8, 8), ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=np.nan)
    ax.imshow(padded.swapaxes(1, 2).reshape(-1, 9 * n_across)[:-1, :-1], **kwargs)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def plot(models, train, test, n_shown=36, n_lines=6):
    fig, axes = plt.subplot_mosaic("0123\nLLRR", figsize=(11.5, 5.6), height_ratios=(1, 0.85), layout="constrained")
    fig.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    dictionaries = {"PCA, first components": PCA(n_shown).fit(train).components_}
    for name, model in models.items():
        effect = model.transform(train).mean(axis=0) * np.linalg.norm(atoms(model), axis=1)
        dictionaries[f"{name}, atoms of most effect"] = atoms(model)[np.argsort(-effect)[:n_shown]]
    for place, (name, images) in zip("0123", dictionaries.items(), strict=True):
        draw(axes[place], images / np.abs(images).max(axis=1, keepdims=True), 6, cmap="RdBu_r", vmin=-1, vmax=1)
        axes[place].set_title(name, fontsize="medium")

    model = models["5 largest"]
    codes, constant = model.transform(test[:n_lines]), model.inverse_transform(np.zeros((1, N_ATOMS)))[0]
    chosen = np.argsort(-codes * np.linalg.norm(atoms(model), axis=1), axis=1)[:, :5]
    parts = atoms(model)[chosen] * np.take_along_axis(codes, chosen, axis=1)[:, :, None]
    for ax, lines in ((axes["L"], slice(0, n_lines // 2)), (axes["R"], slice(n_lines // 2, n_lines))):
        whole = np.stack([test[:n_lines], model.reconstruct(test[:n_lines])], axis=1)
        shown = np.concatenate([whole, np.broadcast_to(constant, (n_lines, 1, 64)), parts], axis=1)[lines]
        draw(ax, shown.reshape(-1, 64), 8, cmap="RdBu_r", vmin=-0.8, vmax=0.8)
        ax.set_xticks(4 + 9 * np.arange(8) - 0.5, ["image", "sum", "= constant", *["+ part"] * 5], fontsize="small")
        ax.tick_params(length=0)
    fig.supxlabel("held-out images taken apart by the 5 largest; red adds ink, blue takes it away", fontsize="medium")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", help="file to draw to; a window where left out")
    parser.add_argument("--small", action="store_true", help="short fits, in a few seconds")
    main(**vars(parser.parse_args()))
