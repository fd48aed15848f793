"""
What the contractive penalty does
=================================

Points lie around an arc in the plane: they vary along the arc and scatter
across it. An autoencoder with two components for two columns can copy its
input, and learns nothing.

The contractive penalty [1]_ charges the squared slopes of the code, with each
component in units of its standard deviation. Slopes along the arc are needed to
tell points apart. Slopes across it can be given up at the price of the scatter,
and the code then describes the arc.
"""

# sphinx_gallery_thumbnail_number = 2
import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import pairwise_distances

from skvae import AutoencoderTransformer, Contractive

LENGTH = 1.5 * np.pi  # three quarters of the unit circle


def place(angles, distance):
    """Points at a distance outwards from the arc."""
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    return (1 + distance)[:, None] * circle


rng = np.random.default_rng(0)
angles = rng.uniform(0, LENGTH, 1000)
X = place(angles, 0.1 * rng.normal(size=1000))

# %%
# ``encoder_jacobian`` gives the slopes of the code at any point. They are
# summarised by their root mean square, along the arc and across it.


def slopes(model, distance):
    """Along and across the arc, at this distance on either side of it."""
    where = np.tile(angles, 2), np.repeat([-distance, distance], len(angles))
    jacobian = model.encoder_jacobian(place(*where))
    jacobian /= model.transform(X).std(axis=0)[:, None]
    across = place(where[0], np.zeros(len(where[0])))
    along = across[:, ::-1] * [-1, 1]
    return [
        np.sqrt(np.mean(np.sum((jacobian @ way[:, :, None]) ** 2, axis=1)))
        for way in (along, across)
    ]


models, table = {}, {}
print("          on the arc     0.3 off it    distance from")
print("weight  along  across   along  across  the arc after")
for weight in (0, 0.01, 0.1, 0.3, 1):
    models[weight] = model = AutoencoderTransformer(
        n_components=2,
        penalty=Contractive(weight) if weight else None,
        early_stopping=False,  # held-out rows would prefer the copy
        random_state=0,
    ).fit(X)
    after = np.std(np.linalg.norm(model.reconstruct(X), axis=1))
    table[weight] = *slopes(model, 0.0), *slopes(model, 0.3), after
    print(
        "{:<6} {:6.2f} {:7.2f} {:7.2f} {:7.2f} {:14.3f}".format(
            weight, *table[weight]
        )
    )
least = np.sqrt(2) * np.pi / LENGTH
print(f"least  {least:6.2f}    0.00")
print(f"distance before: {np.std(np.linalg.norm(X, axis=1)):.3f}")

# %%
# Along an arc of length L, no component of unit variance can have a root mean
# square slope below pi / L (Poincare's inequality). This is the "least" above,
# for two components. With the penalty the slopes along the arc fall to about
# this bound and stay there, whatever the weight. The slopes across fall towards
# zero on the arc. They also shrink off the arc, but less.

fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
along, across = list(zip(*table.values(), strict=True))[:2]
ax.plot(along, "o-", label="along the arc")
ax.plot(across, "s--", label="across the arc")
ax.axhline(least, color="gray", linestyle=":", label="least possible along")
ax.set_xticks(range(len(table)), table)
ax.set(xlabel="weight of the penalty", ylabel="slope", ylim=(0, None))
ax.legend()

# %%
# Arrows go from points to their reconstructions. Without a penalty points stay
# where they are. With it they move to the arc.

grid = np.stack(np.meshgrid(*[np.linspace(-1.5, 1.5, 19)] * 2), axis=-1)
grid = grid.reshape(-1, 2)
grid = grid[pairwise_distances(grid, X).min(axis=1) < 0.3]
fig, axes = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
for ax, weight in zip(axes, (0, 0.3), strict=True):
    moves = models[weight].reconstruct(grid) - grid
    ax.scatter(*X.T, s=6, color="#56B4E9", linewidths=0)
    ax.quiver(*grid.T, *moves.T, angles="xy", scale_units="xy", scale=1)
    ax.set(title=f"weight of the penalty: {weight}", aspect="equal")
plt.show()

# %%
# .. [1] S. Rifai, P. Vincent, X. Muller, X. Glorot, Y. Bengio (2011).
#    Contractive auto-encoders: explicit invariance during feature extraction.
#    *International Conference on Machine Learning*.
