"""What one training step costs, against the forward and backward pass that no autograd code can do without.

Protocol: a 30-64-8-64-30 network with ReLU, standard normal rows, batches of 32, 256 and 1024. A step is everything that
training does per batch: load it, compute loss and gradients (recorded once, replayed), update the weights; taken as an epoch's
time over its batches. The measure is ``torch.autograd.grad`` of the same loss of the same module on one batch, eagerly: no
batch is loaded and no weight updated. init="random" is the plain network, init="pca" has the linear path beside it. The VAE has
twice the encoder outputs, a draw, and the divergence in its loss, in the step and in the pass alike.

All contenders take turns in one process, so that a slower moment of the machine hits them alike. Times are medians over the
rounds in microseconds, after warm-up; the ratio is the median of the rounds' ratios. Below 1, a step costs less than the eager
forward and backward pass alone.

``--variants`` times instead the step of every corruption, penalty and sparse code over that of the plain autoencoder, batches
of 128. ``--by-hand`` times instead the step over that of a loop written by hand for this one network, in ``by_hand.py``: of the
plain autoencoder, of one that sees noise and of the VAE. 1 is the least that a step can be expected to cost. ``--rivals`` adds,
for context and on the plain network, a textbook loop (DataLoader, Adam) and scikit-learn's MLPRegressor.
"""

import argparse
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import torch
from sklearn.neural_network import MLPRegressor
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from by_hand import Denoising, Plain, Variational
from engine import CPU, model_of, run_of
from report import Rows, begin, parser, say, say_table, timed
from skvae import AutoencoderTransformer, Contractive, VAETransformer
from skvae.core.objective import Objective

BATCH_SIZES = (32, 256, 1024)
BATCH_SIZES_BY_HAND = (32, 128, 256, 1024)
N_BATCHES = 32  # steps per measurement
WARM_UP = 3  # rounds
STEP, PASS, HAND = "step", "forward + backward", "by hand"

NETWORK: dict[str, Any] = {"hidden_layer_sizes": (64,), "activation": "relu"}
PLAIN = "plain"
LOGISTIC = {"code_activation": "logistic"}
VARIANTS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "GaussianNoise": {"corruption": "gaussian"},
    "Masking": {"corruption": "masking"},
    "SaltAndPepper": {"corruption": "salt_and_pepper"},
    "SwapNoise": {"corruption": "swap"},
    "4 largest of 8": {"n_nonzero_coefs": 4},
    "L1": {"penalty": "l1"},
    "L2": {"penalty": "l2"},
    "KLSparsity": {"penalty": "kl_sparsity"} | LOGISTIC,
    "Contractive, exact": {"penalty": Contractive(n_probes="exact")},
    "Contractive, one probe": {"penalty": Contractive(n_probes=1)},
}

BY_HAND = {PLAIN: Plain, "GaussianNoise": Denoising, "VAE": Variational}

Steps = Callable[[], object]


def skvae_steps(X: Tensor, batch_size: int, kind: type, init: str, n_epochs: int) -> dict[str, Steps]:
    """An epoch of training, and as many eager passes through the same model."""
    estimator = kind(8, init=init, likelihood="gaussian", batch_size=batch_size, max_iter=n_epochs, **NETWORK)
    run, eager = run_of(estimator, X), model_of(estimator, X)
    weights = [p for p in eager.parameters() if p.requires_grad]
    x, generator = X[:batch_size].clone(), torch.Generator().manual_seed(0)

    def passes() -> None:
        for _ in range(N_BATCHES):
            torch.autograd.grad(Objective().loss(eager, x, None, 1.0, generator), weights)

    return {STEP: run.epoch, PASS: passes}


def variant_steps(X: Tensor, batch_size: int, n_epochs: int) -> dict[str, Steps]:
    """An epoch of training of each variant."""
    options = {"init": "random", "batch_size": batch_size, "max_iter": n_epochs, **NETWORK}
    return {name: run_of(AutoencoderTransformer(8, **options, **variant), X).epoch for name, variant in VARIANTS.items()}


def estimator(name: str, **options: Any) -> AutoencoderTransformer | VAETransformer:
    """The estimator that a loop by hand stands beside."""
    kind = VAETransformer if name == "VAE" else AutoencoderTransformer
    return kind(8, likelihood="gaussian", **NETWORK, **VARIANTS.get(name, {}), **options)


def by_hand_steps(X: Tensor, name: str, batch_size: int, init: str, n_epochs: int) -> dict[str, Steps]:
    """An epoch of training, and one of the loop that is written by hand, from the same weights."""
    ours = estimator(name, batch_size=batch_size, init=init, max_iter=n_epochs)
    return {STEP: run_of(ours, X).epoch, HAND: BY_HAND[name](model_of(ours, X), X, batch_size).epoch}


def textbook_steps(X: Tensor, batch_size: int, device: torch.device = CPU) -> Steps:
    """An epoch of the loop of the tutorials."""
    relu = nn.ReLU()
    model = nn.Sequential(nn.Linear(30, 64), relu, nn.Linear(64, 8), nn.Linear(8, 64), relu, nn.Linear(64, 30)).to(device)
    optimizer = torch.optim.Adam(model.parameters())
    loader = DataLoader(TensorDataset(X), batch_size=batch_size, shuffle=True)

    def epoch() -> None:
        for (rows,) in loader:
            x = rows.to(device)
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), x).backward()
            optimizer.step()

    return epoch


def sklearn_steps(X: Tensor, batch_size: int) -> Steps:
    """An epoch of MLPRegressor; it has a ReLU at the code as well."""
    rows = X.numpy()
    model = MLPRegressor(hidden_layer_sizes=(64, 8, 64), batch_size=batch_size, random_state=0)
    return lambda: model.partial_fit(rows, rows)


def interleaved(contenders: dict[str, Steps], n_rounds: int) -> dict[str, np.ndarray]:
    """Microseconds per step of each contender in each round."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(WARM_UP + n_rounds):
        for name, steps in contenders.items():
            times[name].append(timed(steps)[1] / N_BATCHES * 1e6)
    return {name: np.array(values[WARM_UP:]) for name, values in times.items()}


def measure(batch_size: int, kind: type, init: str, rivals: bool, n_rounds: int) -> dict[str, Any]:
    X = torch.randn(N_BATCHES * batch_size, 30, generator=torch.Generator().manual_seed(0))
    contenders = skvae_steps(X, batch_size, kind, init, WARM_UP + n_rounds)
    if rivals and init == "random" and kind is AutoencoderTransformer:
        contenders["DataLoader + Adam"] = textbook_steps(X, batch_size)
        contenders["MLPRegressor"] = sklearn_steps(X, batch_size)
    times = interleaved(contenders, n_rounds)
    medians = {name: float(np.median(values)) for name, values in times.items()}
    return {
        "model": kind.__name__,
        "init": init,
        "batch": batch_size,
        "ratio": float(np.median(times[STEP] / times[PASS])),
        **medians,
    }


def compare_variants(n_rounds: int, rows: Rows) -> None:
    X = torch.randn(N_BATCHES * 128, 30, generator=torch.Generator().manual_seed(0))
    times = interleaved(variant_steps(X, 128, WARM_UP + n_rounds), n_rounds)
    measured = [
        rows.add({"variant": name, STEP: float(np.median(values)), "over plain": float(np.median(values / times[PLAIN]))})
        for name, values in times.items()
    ]
    lines = [[row["variant"], f"{row[STEP]:.0f}", f"{row['over plain']:.2f}"] for row in measured]
    say_table(["variant", "step, us", "over plain"], lines)


def compare_by_hand(n_rounds: int, rows: Rows) -> None:
    lines = []
    for name, init, batch_size in product(BY_HAND, ("random", "pca"), BATCH_SIZES_BY_HAND):
        X = torch.randn(N_BATCHES * batch_size, 30, generator=torch.Generator().manual_seed(0))
        times = interleaved(by_hand_steps(X, name, batch_size, init, WARM_UP + n_rounds), n_rounds)
        medians = {contender: float(np.median(values)) for contender, values in times.items()}
        key = {"model": name, "init": init, "batch": batch_size}
        row = rows.add(key | medians | {"over by hand": float(np.median(times[STEP] / times[HAND]))})
        lines.append([*key.values(), f"{row[STEP]:.0f}", f"{row[HAND]:.0f}", f"{row['over by hand']:.2f}"])
        say(f"{name} init={init} batch {batch_size}: step {row[STEP]:.0f}, by hand {row[HAND]:.0f}")
    say_table(["model", "init", "batch", STEP, HAND, "ratio"], lines)


def compare_passes(args: argparse.Namespace, rows: Rows) -> None:
    columns, lines = [STEP, PASS, "ratio"], []
    if args.rivals:
        columns += ["DataLoader + Adam", "MLPRegressor"]
    for kind, init in product((AutoencoderTransformer, VAETransformer), ("random", "pca")):
        for batch_size in BATCH_SIZES:
            row = rows.add(measure(batch_size, kind, init, args.rivals, args.rounds) | {"threads": torch.get_num_threads()})
            cells = [f"{row[c]:.2f}" if c == "ratio" else f"{row[c]:.0f}" if c in row else "" for c in columns]
            lines.append([kind.__name__, init, batch_size, *cells])
            say(
                f"{kind.__name__} init={init} batch {batch_size}: "
                + ", ".join(f"{c} {v}" for c, v in zip(columns, cells, strict=True) if v)
            )
    say_table(["model", "init", "batch", *columns], lines)


def main() -> None:
    options = parser(__doc__, rounds=1, rivals=True, by_hand=True)
    options.add_argument("--rounds", type=int, default=50, metavar="N", help="turns of each contender; default 50")
    options.add_argument("--rivals", action="store_true", help="time other loops, too")
    options.add_argument("--variants", action="store_true", help="time the variants of the autoencoder against each other")
    options.add_argument("--by-hand", action="store_true", help="time the step against loops that are written by hand")
    args = options.parse_args()
    begin(args)
    rows = Rows(args.json)
    if args.variants:
        compare_variants(args.rounds, rows)
    if args.by_hand:
        compare_by_hand(args.rounds, rows)
    if args.smoke or not (args.variants or args.by_hand):
        compare_passes(args, rows)


if __name__ == "__main__":
    main()
