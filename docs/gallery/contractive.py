"""What the contractive penalty does: codes that change along the data, and hardly across it.

Points lie around an arc in the plane, so they vary along one curve and scatter across it. An autoencoder with two components
for two columns can copy its input, and learns nothing. The contractive penalty (Rifai et al., 2011) charges the squared
slopes of the code, each component measured in its own standard deviation. The code cannot do without slopes along the arc, as
it must tell its points apart; across the arc it can, at the price of the scatter. What is left is the arc.

``encoder_jacobian`` gives the slopes. Their root mean square along and across the arc, both components together, is measured
on the arc and 0.3 off it. Along an arc of length L no component of unit variance can have less than pi / L (Poincare's
inequality), which is what the penalty should leave.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import pairwise_distances

from skvae import AutoencoderTransformer, Contractive

LENGTH = 1.5 * np.pi  # of the arc, three quarters of the unit circle
SCATTER = 0.1  # standard deviation across it


def place(angles, distance):
    """Points at a distance from the arc, outwards."""
    return (1 + distance)[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])


def slopes(model, X, angles, distance):
    """Along and across the arc, at points at this distance on either side, in standard deviations of the code."""
    angles, distance = np.tile(angles, 2), np.repeat([-distance, distance], len(angles))
    jacobian = model.encoder_jacobian(place(angles, distance)) / model.transform(X).std(axis=0)[:, None]
    across = place(angles, np.zeros(len(angles)))  # of unit length
    along = across[:, ::-1] * [-1, 1]
    return tuple(
        float(np.sqrt(np.mean(np.sum(np.einsum("nkd,nd->nk", jacobian, way) ** 2, axis=1)))) for way in (along, across)
    )


def main(figure=None, small=False):
    rng = np.random.default_rng(0)
    angles = rng.uniform(0, LENGTH, 1000)
    X = place(angles, SCATTER * rng.normal(size=1000))
    shown = 0.3
    weights = (0, shown) if small else (0, 0.01, 0.03, 0.1, shown, 1)

    models, table = {}, {}
    print("slopes         on the arc       0.3 off it      distance from")
    print("weight       along  across    along  across   the arc after")
    for weight in weights:
        models[weight] = model = AutoencoderTransformer(
            n_components=2,
            penalty=Contractive(weight) if weight else None,
            max_iter=60 if small else "auto",
            early_stopping=False,  # held-out rows would judge the copy the best
            random_state=0,
        ).fit(X)
        on, off = slopes(model, X, angles, 0.0), slopes(model, X, angles, 0.3)
        after = float(np.std(np.linalg.norm(model.reconstruct(X), axis=1)))
        table[weight] = {"along": on[0], "across": on[1], "along_off": off[0], "across_off": off[1], "after": after}
        print(f"{weight:<10} {on[0]:7.2f} {on[1]:7.2f}  {off[0]:7.2f} {off[1]:7.2f}   {after:13.3f}")
    print(f"least      {np.sqrt(2) * np.pi / LENGTH:7.2f} {0:7.2f}    distance before: {np.std(np.linalg.norm(X, axis=1)):.3f}")

    plot(X, {"no penalty": models[0], f"Contractive({shown})": models[shown]}, table)
    plt.savefig(figure, dpi=130) if figure else plt.show()
    plt.close()
    return table


def plot(X, models, table):
    _, axes = plt.subplots(1, 3, figsize=(13, 4.2), width_ratios=(1, 1, 1.05), layout="constrained")
    grid = np.stack(np.meshgrid(*[np.linspace(-1.5, 1.5, 19)] * 2), axis=-1).reshape(-1, 2)
    grid = grid[pairwise_distances(grid, X).min(axis=1) < 0.3]  # far from all data, arrows say little
    for ax, (name, model) in zip(axes, models.items(), strict=False):
        ax.scatter(*X.T, s=6, color="#56B4E9", linewidths=0)
        moves = model.reconstruct(grid) - grid
        ax.quiver(*grid.T, *moves.T, angles="xy", scale_units="xy", scale=1, width=0.004)
        ax.set(
            title=f"{name}: to the reconstructions",
            xlabel="column 0",
            ylabel="column 1",
            aspect="equal",
            xlim=(-1.65, 1.65),
            ylim=(-1.65, 1.65),
        )

    ax = axes[2]
    weights = list(table)
    places = range(len(weights))
    for what, style, color in (("along", "o-", "#0072B2"), ("across", "s--", "#D55E00")):
        ax.plot(places, [table[weight][what] for weight in weights], style, color=color, label=f"{what} the arc")
    ax.axhline(np.sqrt(2) * np.pi / LENGTH, color="black", linestyle=":", label="least possible along")
    ax.set_xticks(places, weights)
    ax.set(
        title="slopes of the code, on the arc", xlabel="weight of the penalty", ylabel="root mean square slope", ylim=(0, None)
    )
    ax.legend()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", help="file to draw to; a window where left out")
    parser.add_argument("--small", action="store_true", help="two short fits, in a few seconds")
    main(**vars(parser.parse_args()))
