"""What an accelerator makes of a training step, and of a fit: everything that depends on the card, in one call.

1. A step of a 30-64-8-64-30 network with ReLU, batches of 256 standard normal rows, on the device: ours beside a textbook loop
   (DataLoader, Adam) on the same device.
2. A step of networks with one wide hidden layer, batches of 4096 rows: what share of the rate of a plain product of square
   matrices, in float32 as torch is set, its 6 multiplications and additions per weight and row reach.
3. A default fit of every estimator to standard normal rows, on the device and on the CPU.

Wall seconds; the device is waited for before a clock is read. Without an accelerator it runs on the CPU and says so.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine import run_of
from report import Rows, begin, parser, say, say_table
from skvae import AEAnomalyDetector, AutoencoderImputer, AutoencoderTransformer, VAETransformer
from step import textbook_steps

BATCH, N_BATCHES = 256, 32
WIDE_BATCH = 4096
WARM_UP = 2  # calls
KINDS = {
    "AutoencoderTransformer": lambda **options: AutoencoderTransformer(8, random_state=0, **options),
    "VAETransformer": lambda **options: VAETransformer(8, random_state=0, **options),
    "AEAnomalyDetector": lambda **options: AEAnomalyDetector(random_state=0, **options),
    "AutoencoderImputer": lambda **options: AutoencoderImputer(random_state=0, **options),
}


def seconds(function: Callable[[], object], device: torch.device, n_calls: int) -> float:
    """Median wall seconds of a call, after warm-up."""
    times = []
    for _ in range(WARM_UP + n_calls):
        start = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return float(np.median(times[WARM_UP:]))


def normal(n_rows: int, n_columns: int) -> Tensor:
    return torch.randn(n_rows, n_columns, generator=torch.Generator().manual_seed(0))


def small_step(device: torch.device, n_rounds: int) -> dict[str, Any]:
    """Microseconds of a step of the small network, ours and the textbook's."""
    X = normal(N_BATCHES * BATCH, 30)
    options = {"hidden_layer_sizes": (64,), "activation": "relu", "init": "random", "batch_size": BATCH}
    run = run_of(AutoencoderTransformer(8, max_iter=WARM_UP + n_rounds, **options), X, device=device)
    ours, usual = (seconds(f, device, n_rounds) / N_BATCHES * 1e6 for f in (run.epoch, textbook_steps(X, BATCH, device)))
    return {"what": "step", "ours, us": ours, "textbook, us": usual, "ratio": usual / ours}


def wide_step(width: int, device: torch.device, n_rounds: int) -> dict[str, Any]:
    """Rate of a step of a wide network beside that of a product of square matrices, in 10^12 operations per second."""
    X = normal(WIDE_BATCH, width)
    options = {"hidden_layer_sizes": (width,), "activation": "relu", "init": "random", "batch_size": WIDE_BATCH}
    run = run_of(AutoencoderTransformer(64, max_iter=WARM_UP + n_rounds, **options), X, device=device)
    square = normal(width, width).to(device)
    rate = 6.0 * run.members.vector.numel() * WIDE_BATCH / seconds(run.epoch, device, n_rounds) / 1e12
    peak = 2.0 * width**3 / seconds(lambda: square @ square, device, n_rounds) / 1e12
    return {"what": f"width {width}", "rate": rate, "peak": peak, "share": rate / peak}


def fits(n_rows: int, device: torch.device, epochs: int | str) -> list[dict[str, Any]]:
    """Seconds of a fit of every estimator, on the device and on the CPU."""
    X, found = normal(n_rows, 64).numpy(), []
    for name, build in KINDS.items():
        options = {"max_iter": epochs, "early_stopping": False} if name != "AEAnomalyDetector" else {"max_iter": epochs}
        times = {}
        for where in dict.fromkeys((device.type, "cpu")):
            start = time.perf_counter()
            build(device=where, **options).fit(X)
            times[where] = time.perf_counter() - start
        found.append({"what": name, **{f"{where}, s": value for where, value in times.items()}})
    return found


def main() -> None:
    options = parser(__doc__, rounds=1, widths="64", rows=200, epochs=2)
    options.add_argument("--rounds", type=int, default=20, metavar="N", help="calls of which medians are taken; default 20")
    options.add_argument("--widths", default="1024,4096", metavar="A,B", help="of the wide layer; default 1024,4096")
    options.add_argument("--rows", type=int, default=20_000, metavar="N", help="of the fits; default 20000")
    options.add_argument("--epochs", type=int, default=5, metavar="N", help="of the fits; default 5")
    args = options.parse_args()
    begin(args)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    card = torch.cuda.get_device_name() if device.type == "cuda" else "no accelerator, so on the CPU"
    say(f"On: {card}")
    rows = Rows(args.json)
    measured = [small_step(device, args.rounds)]
    measured += [wide_step(int(width), device, args.rounds) for width in args.widths.split(",")]
    measured += fits(args.rows, device, args.epochs)
    for row in measured:
        what, *values = rows.add({**row, "device": card}).items()
        say_table(["what", *(name for name, _ in values[:-1])], [[what[1], *(f"{value:.4g}" for _, value in values[:-1])]])


if __name__ == "__main__":
    main()
