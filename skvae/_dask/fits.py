"""Fit local estimators to Dask collections."""

from functools import reduce
from typing import Any

import numpy as np

from skvae._anomaly import AEAnomalyDetector
from skvae._base import BaseAutoencoder
from skvae._dask.cluster import Cluster, heard, process_of, told
from skvae._dask.collections import is_collection, is_frame, joined, partitions_of, weights_of
from skvae._dask.ranks import Job, train_together
from skvae._streams import LEAST_ROWS
from skvae._tables.libraries import rows_at
from skvae._tables.rows import Table, sample_rows
from skvae._tables.schema import HEAD_ROWS, HeadSchema, Schema, pooled
from skvae._tables.survey import Findings, Shares, places_of
from skvae._validation import check_rows, check_weights, random_seed
from skvae.distributed import seed_of

HEADS = 4  # partitions searched for the first rows; doubled while they have too few


def fit_transformer(
    model: BaseAutoencoder, X: Any, sample_weight: Any, X_val: Any, sample_weight_val: Any, cluster: Cluster
) -> BaseAutoencoder:
    """Fit the estimator in one process per worker that holds rows.

    1. Determine the column types.
    2. Encode each partition as numbers, on the worker that holds it.
    3. Compute the statistics of all rows, and choose the held-out rows.
    4. Train.
    """
    if is_collection(X_val):
        raise TypeError("X_val is a Dask collection, but must be in memory; use `X_val = X_val.compute()`.")
    parts = partitions_of(X)
    weights = weights_of(sample_weight, len(parts))
    model.random_state, model.verbose = seed_of(model), False
    client, earlier = cluster.client, model._earlier
    n_telling = min(HEAD_ROWS, sample_rows(X.shape[1])) if is_frame(X) else LEAST_ROWS  # rows that determine column types
    head = _first_rows(parts, n_telling, cluster)
    schema = _schema(model, parts, head, cluster) if earlier is None else earlier.schema  # 1)
    in_unit_interval = model.likelihood == "bernoulli"
    first = cluster.results([client.submit(rows_at, head, slice(LEAST_ROWS), pure=False)])[0]
    check_rows(model, first, schema, reset=earlier is None, in_unit_interval=in_unit_interval)
    held_out = model._held_out(X_val, sample_weight_val, schema)
    tables = [_delayed(_table, *part, i, model, schema) for i, part in enumerate(zip(parts, weights, strict=True))]
    homes = homes_of(parts, X, cluster)
    tables = client.compute(tables)  # 2) bound to no worker: with all workers lost, Dask never runs again what was bound to one
    return _trained(Job(model, schema, held_out, earlier, cluster.timeout), tables, homes, X.shape[1], cluster)


def _trained(job: Job, tables: list[Any], homes: list[str], n_columns: int, cluster: Cluster) -> BaseAutoencoder:
    """Train the estimator on encoded partitions."""
    client, model = cluster.client, job.model
    counts = cluster.results(client.map(_count, tables, pure=False), "reading")
    n_rows, total = map(sum, zip(*counts, strict=True))
    if not total:
        raise ValueError(f"sample_weight is zero for all {n_rows} rows; at least one row needs a positive weight.")
    shares = Shares.of(n_rows, n_columns, model._share_held_out(job.held_out))
    findings = [client.submit(_findings, table, shares, pure=False) for (n, _), table in zip(counts, tables, strict=True) if n]
    found = cluster.reduced(_merged, findings)  # 3)
    cluster.wait([*findings, found], "summing up")
    return train_together(job, shares, tables, [n for n, _ in counts], homes, found, cluster)  # 4)


def fit_detector(model: AEAnomalyDetector, X: Any, cluster: Cluster) -> AEAnomalyDetector:
    """Fit the detector to a random sample of the rows, on one worker."""
    parts = partitions_of(X)
    model.random_state, model.verbose = seed_of(model), False
    client = cluster.client
    sizes = cluster.results(client.compute([_delayed(_n_rows, part) for part in parts]), "counting")
    n_rows = sum(sizes)
    _check_has_rows(n_rows, parts)
    rng = np.random.default_rng(random_seed(model.random_state))
    n_drawn = min(sample_rows(X.shape[1]), n_rows)
    places = np.sort(rng.choice(n_rows, n_drawn, replace=False, shuffle=False))  # as for a table read by one process
    starts = np.cumsum([0, *sizes[:-1]])
    of_parts = np.split(places, np.searchsorted(places, starts[1:]))
    drawn = [
        _delayed(rows_at, part, some - start) for part, some, start in zip(parts, of_parts, starts, strict=True) if len(some)
    ]
    sample = client.compute(_delayed(joined, drawn))
    outcome = cluster.results([client.submit(heard, model.fit, sample, pure=False)], "fitting")[0]
    return told(outcome)


def _delayed(function: Any, *args: Any) -> Any:
    from dask.delayed import delayed

    return delayed(function, pure=False)(*args)


def homes_of(parts: list[Any], X: Any, cluster: Cluster) -> list[str]:
    """Assign each partition to a worker that holds it; others are shared out evenly, adjacent ones together.

    Two fits to one collection therefore find its rows on the same workers.
    """
    from distributed import futures_of

    workers = cluster.addresses()
    held = {future.key[1]: future.key for future in futures_of(X) if isinstance(future.key, tuple)}  # by partition
    holders = cluster.client.who_has(futures_of(X)) if len(held) == len(parts) else {}
    shares = np.array_split(np.arange(len(parts)), len(workers))
    homes = [worker for worker, share in zip(workers, shares, strict=True) for _ in share]
    chosen = {process_of(worker): worker for worker in workers}
    of_holders = [min(map(process_of, holders.get(held.get(i), ())), default="") for i in range(len(parts))]
    return [chosen.get(holder, home) for holder, home in zip(of_holders, homes, strict=True)]


def _first_rows(parts: list[Any], n_rows: int, cluster: Cluster) -> Any:
    """The first rows of a table, on a worker."""
    client, n_parts = cluster.client, HEADS
    heads: list[Any] = []
    sizes: list[int] = []
    while sum(sizes) < n_rows and len(heads) < len(parts):
        new = client.compute([_delayed(rows_at, part, slice(n_rows)) for part in parts[len(heads) : n_parts]])
        heads += new
        sizes += cluster.results(client.map(_n_rows, new, pure=False))
        n_parts *= 2
    _check_has_rows(sum(sizes), parts)
    before = np.cumsum([0, *sizes[:-1]])
    needed = [head for head, size, start in zip(heads, sizes, before, strict=True) if size and start < n_rows]
    return client.submit(_head, needed, n_rows, pure=False)


def _check_has_rows(n_rows: int, parts: list[Any]) -> None:
    if not n_rows:
        raise ValueError(f"X has no rows in its {len(parts)} partitions; a fit needs at least two.")


def _schema(model: BaseAutoencoder, parts: list[Any], head: Any, cluster: Cluster) -> Schema:
    """Determine the column types."""
    client = cluster.client
    opened = cluster.results([client.submit(HeadSchema.of, head, model.categorical_features, pure=False)])[0]
    if not opened.is_open:
        return opened.schema
    counts = client.compute([_delayed(opened.count, part) for part in parts])
    counted = cluster.reduced(pooled, counts)
    cluster.wait([*counts, counted], "counting")
    return told(cluster.results([client.submit(heard, opened.with_counts, counted, pure=False)])[0])


# On the workers


def _head(heads: list[Any], n_rows: int) -> Any:
    return rows_at(joined(heads), slice(n_rows))


def _n_rows(part: Any) -> int:
    return int(part.shape[0])


def _table(part: Any, weights: Any, i: int, model: BaseAutoencoder, schema: Schema) -> Table | None:
    """Encode a partition as numbers; None if it has no rows."""
    if not part.shape[0]:
        return None
    in_unit_interval = model.likelihood == "bernoulli"
    try:
        rows = check_rows(model, part, schema, reset=False, in_unit_interval=in_unit_interval)
        if weights is None:
            return Table(rows, None)
        weights = np.asarray(weights, dtype=np.float64)
        checked = check_weights(weights, rows) if weights.any() or len(weights) != len(rows) else weights
    except ValueError as error:
        raise ValueError(f"In partition {i} of X (counting from 0): {error}") from error
    return Table(rows, checked)


def _count(table: Table | None) -> tuple[int, float]:
    """Number of rows, and their total weight."""
    return (0, 0.0) if table is None else (table.n_rows, table.total)


def _findings(table: Table, shares: Shares) -> Findings:
    return Findings.of(((block, places_of(block.rows)) for block in table.blocks()), shares)


def _merged(findings: list[Findings]) -> Findings:
    return reduce(Findings.merged, findings)
