"""``skvae impute``: the missing values of a table, filled in."""

from argparse import Namespace

import pandas as pd

from skvae._command.tables import Table, read_table
from skvae._command.terminal import fitting, is_watched, note, print_table, show_columns
from skvae._command.writing import outputs, table_output, write_table


def run(options: Namespace) -> bool:
    """Run the command."""
    out = table_output(options.out)
    with outputs(out):
        table = read_table(options.table, options)
        show_columns(table)
        holes = table.rows.isna()
        counts = holes.sum()
        if counts.any():
            with fitting(table):
                filled = _filled(table, options)
        else:
            note("no value is missing in the columns that are used; OUT is a copy")
            filled = table.rows
        is_typed = out.suffix == ".parquet"
        write_table(out, _completed(table, filled, holes, is_typed), table.file.separator)
    lines = [[label, str(n), str(len(holes))] for label, n in counts.items() if n]
    if lines:
        print_table(["column", "filled in", "rows"], lines, "<>>")
    print(f"{int(counts.sum())} values filled in; written: {options.out}")
    return False


def _filled(table: Table, options: Namespace) -> pd.DataFrame:
    from skvae import AutoencoderImputer

    filled: pd.DataFrame = AutoencoderImputer(random_state=options.seed, verbose=is_watched()).fit_transform(table.rows)
    return filled


def _completed(table: Table, filled: pd.DataFrame, holes: pd.DataFrame, is_typed: bool) -> pd.DataFrame:
    """The table as it came, with cells written in the style of their columns where they were missing."""
    result = table.file.frame.copy()
    for label in filled:
        style = table.styles[label]
        if is_typed or style.kind == "typed":
            result[label] = filled[label]
        else:
            where = holes[label]
            result.loc[where, label] = [style.written(value) for value in filled.loc[where, label]]
    return result
