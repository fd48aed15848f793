"""``skvae reduce``: a few components in place of the columns of a table."""

from argparse import Namespace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from skvae._command.errors import Unusable
from skvae._command.tables import Table, read_table
from skvae._command.terminal import counted, fitting, is_watched, show_columns
from skvae._command.writing import TABLES, Output, outputs, table_output, write_table

PICTURES = (".png", ".pdf", ".svg")


def run(options: Namespace) -> bool:
    """Run the command."""
    out = table_output(options.out)
    plot = _plot_output(options)
    with outputs(out, plot):
        table = read_table(options.table, options)
        if options.k > table.rows.shape[1]:
            used = counted(table.rows.shape[1], "column")
            raise Unusable(f"{table.name}: -k {options.k} is more than the {used} that can be used; use a smaller one")
        show_columns(table)
        with fitting(table):
            model, codes = _reduced(table, options)
        write_table(out, codes)
        if plot:
            plot.write(lambda file: _draw(codes, table.name, file, plot.suffix[1:]))
    print(f"{counted(len(codes), 'row')}, {counted(codes.shape[1], 'component')} of {counted(table.rows.shape[1], 'column')}")
    print(_judged(model))
    for path in filter(None, (options.out, plot and plot.path)):
        print(f"written: {path}")
    return False


def _reduced(table: Table, options: Namespace) -> tuple[Any, pd.DataFrame]:
    from skvae import AutoencoderTransformer

    model = AutoencoderTransformer(options.k, random_state=options.seed, verbose=is_watched())
    codes = model.fit_transform(table.rows)
    return model, pd.DataFrame(codes, columns=model.get_feature_names_out())


def _plot_output(options: Namespace) -> Output | None:
    if options.plot is None:
        return None
    if options.k < 2:
        raise Unusable("--plot draws two components; use -k 2 or more")
    try:
        import matplotlib  # noqa: F401, ICN001
    except ImportError:
        raise Unusable("--plot needs matplotlib: `pip install matplotlib`, or leave --plot out") from None
    stem = next(options.out[: -len(suffix)] for suffix in TABLES if options.out.lower().endswith(suffix))
    return Output(options.plot or f"{stem}.png", PICTURES, "--plot")


def _draw(codes: pd.DataFrame, name: str, file: IO[bytes], kind: str) -> None:
    """A scatter plot of the first two components."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    axes.scatter(codes.iloc[:, 0], codes.iloc[:, 1], s=max(1.0, min(20.0, 1e4 / len(codes))), alpha=0.6, linewidths=0)
    axes.set(xlabel=codes.columns[0], ylabel=codes.columns[1], title=Path(name).name.replace("$", r"\$"))
    figure.savefig(file, format=kind, dpi=150)


def _judged(model: Any) -> str:
    """How well rows that were held out are told by the components, and how well by those of the closed solution."""
    scores = model.validation_scores_
    if scores is None:
        return "too few rows to hold any out: the components are those of PCA"
    start, best = scores[0], scores[model.best_iter_]
    text = f"held-out rows: log-likelihood per row {best:.2f} nats, "
    if np.ndim(model.noise_variance_):  # one for each column, as missing values or other columns than numbers make it
        return f"{text}{start:.2f} by a linear model"
    share = float(np.sum(model.explained_variance_ratio_))
    return f"{text}{start:.2f} by PCA; {share:.1%} of the variance explained"
