"""Do the detector's p-values hold what they promise: ``p <= a`` for a share a of normal rows, and few false discoveries?

Protocol: the one-class setting of ``labelled.py``, whose sets these are. Of the rows to train on 35, 120, 600 or all are taken,
at random, so that there are tables of every size; of all, sets with more than 1,000. The others are not seen. One fit per set,
size, seed and method.

* Validity: the share of unseen normal rows with ``p <= a``, means over seeds. To pass, the mean over sets is at most
  1.15 a + 0.005, for each a and in each band of sizes.
* False discoveries: from each fit ``--draws`` times, unseen rows at random, 10 % of them anomalies, as many as there are and at
  most 1000. The Benjamini-Hochberg procedure at 10 % picks some: which share of these is normal, 0 where there are none (the
  false discovery proportion), and which share of the anomalies is picked (power). Draws of a fit share the rows that p-values
  compare with, so standard errors are those of the means of fits. To pass, the mean proportion is below 10 %.

Methods: ours is AEAnomalyDetector(support_fraction=1.0), for training rows that are known to be normal; defaults is that
without.

With ``--json`` a run that was interrupted goes on where it stopped:

    python benchmarks/p_values.py --threads 1 --json p_values.jsonl
"""

import argparse
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

import data
from labelled import Task, add_sets, chosen_sets
from report import Row, Rows, add_epochs, begin, parser, say, say_table, timed

BANDS = {"below 50": (35, 1), "50 to 200": (120, 50), "200 to 1000": (600, 200), "above 1000": (None, 1001)}  # rows, least
LEVELS = (0.01, 0.05, 0.1, 0.2)
FDR = 0.1
NORMAL = 9  # rows per anomaly, to pick from
MOST = 1000  # rows, of both kinds
METHODS: dict[str, dict[str, Any]] = {"ours": {"support_fraction": 1.0}, "defaults": {}}


def bound(level: float) -> float:
    return 1.15 * level + 0.005


def pick(p_normal: np.ndarray, p_anomalous: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """False discovery proportion and power among rows at random."""
    n = min(MOST // (1 + NORMAL), len(p_anomalous), len(p_normal) // NORMAL)
    p = np.concatenate([rng.permutation(p_anomalous)[:n], rng.permutation(p_normal)[: NORMAL * n]])
    found = false_discovery_control(p) <= FDR
    return float(found[n:].sum() / max(1, found.sum())), float(found[:n].mean())


def measure(task: Task, key: Row, epochs: int | str) -> Row:
    """Shares of small p-values, and means over draws."""
    from skvae import AEAnomalyDetector

    seed = key["seed"]
    train = np.random.default_rng(seed).permutation(task.train)[: BANDS[key["band"]][0]]
    detector = AEAnomalyDetector(max_iter=epochs, random_state=seed, **METHODS[key["method"]])
    _, seconds = timed(lambda: detector.fit(train))
    p = detector.p_values(task.test)
    normal, anomalous = p[~task.anomalous], p[task.anomalous]
    rng = np.random.default_rng(seed)
    fdp, power = np.mean([pick(normal, anomalous, rng) for _ in range(key["draws"])], axis=0)
    shares = {f"p <= {level}": float(np.mean(normal <= level)) for level in LEVELS}
    return {"n": len(train), "n_test": len(normal), **shares, "fdp": fdp, "power": power, "seconds": seconds}


def say_validity(frame: pd.DataFrame, title: str) -> None:
    """Print the shares of unseen normal rows with small p-values, and whether they are small enough."""
    columns = [f"p <= {level}" for level in LEVELS]
    means = frame.groupby("set", sort=False)[["n", "n_test", *columns]].mean()
    sizes = means[["n", "n_test"]].round().astype(int)
    mean, bounds = means[columns].mean(), [bound(level) for level in LEVELS]
    lines = [["mean over sets", f"{sizes['n'].median():.0f}", *(f"{value:.4f}" for value in mean)]]
    lines.append(["bound", "", *(f"{value:.4f}" for value in bounds)])
    lines.append(["", "", *("pass" if value <= most else "FAIL" for value, most in zip(mean, bounds, strict=True))])
    say(f"\n{title}, {len(means)} sets: share of unseen normal rows with small p-values")
    say_table(["", "median n, training", *columns], lines)


def say_discoveries(frame: pd.DataFrame, title: str, draws: int) -> None:
    """Print false discovery proportions and power, and whether there are few enough false discoveries."""
    columns = ["fdp", "power"]
    mean, error = frame[columns].mean(), frame[columns].sem()
    lines = [[*(f"{mean[c]:.4f} ± {error[c]:.4f}" for c in columns), "pass" if mean["fdp"] < FDR else "FAIL"]]
    say(f"\n{title}: Benjamini-Hochberg at {FDR:.0%}, {draws} draws from each of {len(frame)} fits")
    say_table(["false discovery proportion", "power", f"below {FDR:.0%}"], lines)


def options() -> argparse.ArgumentParser:
    result = parser(__doc__, seeds=2, epochs=1)
    data.add_options(result, sets=False)
    add_epochs(result)
    add_sets(result)
    result.add_argument("--draws", type=int, default=10, metavar="N", help="of rows to pick from, per fit; default 10")
    return result


def main() -> None:
    args = options().parse_args()
    begin(args)
    store, results = Rows(args.json), []
    for item in chosen_sets(args):
        for seed in item.seeds(args.seeds):
            task = Task.draw(item, "one-class", args.max_rows, seed)
            bands = [band for band, (_, least) in BANDS.items() if len(task.train) >= least]
            for band, method in product(bands, METHODS):
                key = {"set": item.name, "band": band, "max_rows": args.max_rows, "draws": args.draws}
                key |= {"seed": seed, "method": method}
                row = store.once(partial(measure, task, key, args.epochs), **key)
                small = ", ".join(f"{row[f'p <= {level}']:.3f}" for level in LEVELS)
                say(f"{item.name} {seed} {band}, {method}: {small}; FDP {row['fdp']:.3f}, power {row['power']:.3f}")
                results.append(row)
    frame = pd.DataFrame(results)
    for method, band in product(METHODS, BANDS):
        those = frame[(frame["method"] == method) & (frame["band"] == band)]
        if len(those):
            say_validity(those, f"{method}, {band} rows")
            say_discoveries(those, f"{method}, {band} rows", args.draws)


if __name__ == "__main__":
    main()
