"""Find wrong cells in a table, and say what should stand there.

Fifteen of 178 rows of wine analyses get one wrong cell each: a decimal point in a wrong place, a value of another column, or
one that cannot be. The detector learns from that very table; the tenth of the rows that is oddest is flagged. Drawn are the
oddest of all, with the cells to blame.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine

from skvae import AEAnomalyDetector, AnomalyDisplay


def spoiled(rows, n_errors, rng):
    """The rows with one wrong cell in each of the first few, and its column."""
    rows, columns = rows.copy(), {}
    for i, label in enumerate(rows.index[:n_errors]):
        column, other = rng.choice(rows.columns, 2, replace=False)
        rows.loc[label, column] = (rows.loc[label, column] * 10, rows.loc[label, other], -1.0)[i % 3]
        columns[label] = column
    return rows, columns


def main(figure=None, small=False):
    wine = load_wine(as_frame=True).data.sample(frac=1, random_state=0)
    rows, wrong = spoiled(wine, 15, np.random.default_rng(1))
    detector = AEAnomalyDetector(contamination=0.1, random_state=0)
    flagged = rows.index[detector.fit_predict(rows) == -1]
    found = [label for label in flagged if label in wrong]
    contributions, expected = detector.explain(rows.loc[found], return_expected=True)
    blamed = contributions.idxmax(axis=1)
    numbers = {
        "errors": len(wrong),
        "flagged": len(flagged),
        "found": len(found),
        "rightly blamed": sum(blamed[label] == wrong[label] for label in found),
    }
    print(numbers)
    for label in found:
        column = blamed[label]
        values = (frame.loc[label, column] for frame in (rows, expected, wine))
        print(f"{column:30} is {next(values):8.4g}, expected {next(values):8.4g}, was {next(values):8.4g}")

    AnomalyDisplay.from_estimator(detector, rows, n_rows=6 if small else 18, n_columns=9)
    plt.savefig(figure, dpi=130) if figure else plt.show()
    plt.close()
    return numbers


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", help="file to draw to; a window where left out")
    parser.add_argument("--small", action="store_true", help="draw six rows")
    main(**vars(parser.parse_args()))
