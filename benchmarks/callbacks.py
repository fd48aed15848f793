"""What scikit-learn's callbacks cost: CPU seconds of a fit with one that does nothing, over those of a fit without.

Fits with and without take turns; ratios are of medians. scikit-learn 1.9 or later.

    python benchmarks/callbacks.py --threads 1
"""

import warnings
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.exceptions import ConvergenceWarning

from report import Rows, begin, cpu_timed, parser, say_table
from skvae import AEAnomalyDetector, AutoencoderImputer, AutoencoderTransformer, VAETransformer

CANCER, DIGITS = load_breast_cancer().data, load_digits().data
SHORT_EPOCHS = {"hidden_layer_sizes": (8,), "init": "random", "early_stopping": False, "batch_size": 200, "random_state": 0}


class Nothing:
    """A callback that does nothing."""

    def setup(self, estimator: Any, context: Any) -> None: ...

    def teardown(self, estimator: Any, context: Any) -> None: ...

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None: ...

    def on_fit_task_end(self, estimator: Any, context: Any) -> None: ...


def fits(epochs: int) -> dict[str, tuple[Any, np.ndarray]]:
    """Estimators and their tables, of about so many epochs."""
    return {
        "autoencoder": (AutoencoderTransformer(5, max_iter=4 * epochs, random_state=0), CANCER),
        "autoencoder, digits": (AutoencoderTransformer(16, max_iter=epochs, random_state=0), DIGITS),
        "VAE, digits": (VAETransformer(16, max_iter=epochs, random_state=0), DIGITS),
        "detector": (AEAnomalyDetector(max_iter=epochs // 3 + 1, random_state=0), CANCER),
        "imputer": (AutoencoderImputer(max_iter=epochs // 2 + 1, random_state=0), CANCER),
        "epochs of one step": (AutoencoderTransformer(2, max_iter=30 * epochs, **SHORT_EPOCHS), CANCER[:200]),
    }


def seconds(estimator: Any, X: np.ndarray, callbacks: list[Nothing]) -> float:
    """CPU seconds of a fit."""
    return cpu_timed(lambda: estimator.set_callbacks(*callbacks).fit(X))[1]


def main() -> None:
    options = parser(__doc__, epochs=2, rounds=1)
    options.add_argument("--epochs", type=int, default=40, metavar="N", help="of training; default 40")
    options.add_argument("--rounds", type=int, default=8, metavar="N", help="fits with and without; default 8")
    args = options.parse_args()
    begin(args)
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows, lines = Rows(args.json), []
    for name, (estimator, X) in fits(args.epochs).items():
        times: dict[str, list[float]] = {"without": [], "with": []}
        for _ in range(args.rounds):
            for kind, callbacks in (("without", []), ("with", [Nothing()])):
                times[kind].append(seconds(estimator, X, callbacks))
        median = {kind: float(np.median(some)) for kind, some in times.items()}
        rows.add({"fit": name, **median})
        lines.append([name, f"{median['without']:.3f}", f"{median['with'] / median['without']:.3f}"])
    say_table(["fit", "CPU seconds without", "with / without"], lines)


if __name__ == "__main__":
    main()
