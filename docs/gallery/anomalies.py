"""
Find wrong cells in a table
===========================

Fifteen of 178 wine analyses get one wrong cell each: a decimal point in the
wrong place, a value of another column, or an impossible value.
:class:`~skvae.AEAnomalyDetector` is fitted to this very table, errors
included. It flags rows, names the cells to blame, and says which values it
expected there.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine

from skvae import AEAnomalyDetector, AnomalyDisplay

wine = load_wine(as_frame=True).data.sample(frac=1, random_state=0)

# %%
# Spoil one cell in each of the first fifteen rows.

rng = np.random.default_rng(1)
rows, wrong = wine.copy(), {}
for i, label in enumerate(rows.index[:15]):
    column, other = rng.choice(rows.columns, 2, replace=False)
    value, value_of_other = rows.loc[label, [column, other]]
    rows.loc[label, column] = (10 * value, value_of_other, -1.0)[i % 3]
    wrong[label] = column

# %%
# Flag the tenth of the rows with the highest anomaly scores, and ask what each
# cell adds to the score of its row.

detector = AEAnomalyDetector(contamination=0.1, random_state=0)
flagged = rows.index[detector.fit_predict(rows) == -1]
contributions, expected = detector.explain(
    rows.loc[flagged], return_expected=True
)
blamed = contributions.idxmax(axis=1)
found = [label for label in flagged if label in wrong]
right = [label for label in found if blamed[label] == wrong[label]]

print(f"{len(flagged)} rows flagged, with {len(found)} of {len(wrong)} errors;")
print(f"the right cell is blamed for {len(right)} of them\n")
print(f"{'cell to blame':29} {'is':>8} {'expected':>8} {'was':>8}")
for label in found:
    column = blamed[label]
    values = [table.loc[label, column] for table in (rows, expected, wine)]
    print(f"{column:29} {values[0]:8.4g} {values[1]:8.4g} {values[2]:8.4g}")

# %%
# Most expected values are near the true ones. The errors that are not found
# replace a cell with a value that is plausible in its new column.
#
# The display shows the scores of all rows, and the rows with the highest
# scores. Cells are shaded by their share in the score of the row. The bars at
# the right split the score by what it measures: distances to neighbours, ranks
# within columns, and what an autoencoder expects in such a row.

AnomalyDisplay.from_estimator(detector, rows, n_rows=18, n_columns=9)
plt.show()
