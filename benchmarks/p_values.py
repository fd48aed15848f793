"""Do the detector's p-values hold what they promise: ``p <= a`` for a share a of normal rows, and few false discoveries?

Protocol: the one-class setting of ``anomaly.py``. Of a table above ``--max-rows`` rows, so many at random; half of the normal
rows are trained on. The other half and the anomalies are unseen. One fit per set, seed and method.

* Validity: the share of unseen normal rows with ``p <= a``, means over seeds. To pass, the mean over sets is at most
  1.15 a + 0.005, for each a.
* False discoveries: from each fit ``--draws`` times, unseen rows at random, 10 % of them anomalies, as many as there are and at
  most 1000. The Benjamini-Hochberg procedure at 10 % picks some: which share of these is normal, 0 where there are none (the
  false discovery proportion), and which share of the anomalies is picked (power). Draws of a fit share the rows that p-values
  compare with, so standard errors are those of the means of fits. To pass, the mean proportion is below 10 %.

Methods: ours is AEAnomalyDetector(support_fraction=1.0), for training rows that are known to be normal; defaults is that
without.

Sets are those of ``anomaly.py``. With ``--json`` a run that was interrupted goes on where it stopped:

    python benchmarks/p_values.py --threads 1 --json p_values.jsonl
"""

import argparse
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

import anomaly
import data
from report import Row, Rows, add_epochs, begin, parser, say, say_table, timed

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


def measure(folder: Path | None, key: Row, epochs: int | str) -> Row:
    """Shares of small p-values, and means over draws."""
    from skvae import AEAnomalyDetector

    seed = key["seed"]
    task = anomaly.Task.draw(key["set"], folder, "one-class", key["max_rows"], seed)
    detector = AEAnomalyDetector(max_iter=epochs, random_state=seed, **METHODS[key["method"]])
    _, seconds = timed(lambda: detector.fit(task.train))
    p = detector.p_values(task.test)
    normal, anomalous = p[~task.anomalous], p[task.anomalous]
    rng = np.random.default_rng(seed)
    fdp, power = np.mean([pick(normal, anomalous, rng) for _ in range(key["draws"])], axis=0)
    shares = {f"p <= {level}": float(np.mean(normal <= level)) for level in LEVELS}
    return {"n": len(task.train), "n_test": len(normal), **shares, "fdp": fdp, "power": power, "seconds": seconds}


def say_validity(frame: pd.DataFrame, method: str) -> None:
    """Print the shares of unseen normal rows with small p-values, and whether they are small enough."""
    columns = [f"p <= {level}" for level in LEVELS]
    means = frame.groupby("set", sort=False)[["n", "n_test", *columns]].mean()
    sizes = means[["n", "n_test"]].round().astype(int)
    lines = [[name, *sizes.loc[name], *(f"{share:.4f}" for share in means.loc[name, columns])] for name in means.index]
    mean, bounds = means[columns].mean(), [bound(level) for level in LEVELS]
    lines.append(["mean over sets", "", "", *(f"{value:.4f}" for value in mean)])
    lines.append(["bound", "", "", *(f"{value:.4f}" for value in bounds)])
    lines.append(["", "", "", *("pass" if value <= most else "FAIL" for value, most in zip(mean, bounds, strict=True))])
    say(f"\n{method}: share of unseen normal rows with small p-values")
    say_table(["set", "n, training", "n, unseen", *columns], lines)


def say_discoveries(frame: pd.DataFrame, method: str, draws: int) -> None:
    """Print false discovery proportions and power, and whether there are few enough false discoveries."""
    columns, sets = ["fdp", "power"], frame.groupby("set", sort=False)
    means, errors = sets[columns].mean(), sets[columns].sem()
    lines = [[name, *(f"{means.loc[name, c]:.3f} ± {errors.loc[name, c]:.3f}" for c in columns)] for name in means.index]
    mean, error = frame[columns].mean(), frame[columns].sem()
    lines.append(["mean", *(f"{mean[c]:.4f} ± {error[c]:.4f}" for c in columns)])
    lines.append([f"below {FDR}", "pass" if mean["fdp"] < FDR else "FAIL", ""])
    say(f"\n{method}: Benjamini-Hochberg at {FDR:.0%}, {draws} draws from each of {len(frame)} fits")
    say_table(["set", "false discovery proportion", "power"], lines)


def options() -> argparse.ArgumentParser:
    result = parser(__doc__, seeds=2, epochs=1)
    data.add_options(result, sets=False)
    add_epochs(result)
    result.add_argument("--sets", metavar="A,B", help="some of the names in the folder; default all")
    result.add_argument("--max-rows", type=int, default=20_000, metavar="N", help="at most so many of a set; default 20000")
    result.add_argument("--seeds", type=int, default=3, metavar="N", help="draws of rows, and seeds of methods; default 3")
    result.add_argument("--draws", type=int, default=10, metavar="N", help="of rows to pick from, per fit; default 10")
    result.set_defaults(methods=None, settings=None)  # which anomaly.chosen reads
    return result


def main() -> None:
    args = options().parse_args()
    begin(args)
    _, _, sets = anomaly.chosen(args)
    store, results = Rows(args.json), []
    for name, method, seed in product(sets, METHODS, range(args.seeds)):
        key = {"set": name, "max_rows": args.max_rows, "draws": args.draws, "seed": seed, "method": method}
        row = store.once(partial(measure, args.data, key, args.epochs), **key)
        small = ", ".join(f"{row[f'p <= {level}']:.3f}" for level in LEVELS)
        say(f"{name} {seed} {method}: {small}; FDP {row['fdp']:.3f}, power {row['power']:.3f}; {row['seconds']:.1f} s")
        results.append(row)
    frame = pd.DataFrame(results)
    for method in METHODS:
        those = frame[frame["method"] == method]
        say_validity(those, method)
        say_discoveries(those, method, args.draws)


if __name__ == "__main__":
    main()
