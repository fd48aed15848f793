"""The arguments of the commands."""

import argparse
import math
from collections.abc import Callable
from typing import Any, NoReturn

from skvae._command.errors import Unusable, one_line

DESCRIPTION = "Autoencoders for tables: find errors and anomalies, fill in missing values, reduce columns to a few."
TABLE = "csv (separated by , ; tab or |, also .gz), parquet or Arrow file; - reads standard input"
OUT = ".csv, .csv.gz, .tsv or .parquet"
EPILOG = "Exit codes: 0 done, 1 rows are flagged and --fail is given, 2 input that cannot be used, 130 interrupted."


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments."""
        raise Unusable(f"{one_line(message)}; see `{self.prog} --help`")


def parser() -> Parser:
    """The parser of all commands."""
    main = Parser(prog="skvae", description=DESCRIPTION, epilog=EPILOG)
    main.add_argument("--version", action="store_true", help="print the version and exit")
    commands = main.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_detect(commands)
    _add_impute(commands)
    _add_reduce(commands)
    return main


def _add_detect(commands: Any) -> None:
    detect = _command(commands, "detect", "find the rows and cells that do not fit the rest of a table")
    add = detect.add_argument
    add("-o", "--out", metavar="OUT", help=f"write all rows, the oddest first, with scores and cells to blame; {OUT}")
    add("--report", metavar="REPORT.html", help="write a report of the oddest rows that opens in a browser")
    add("--fit-on", metavar="CLEAN", help="learn from this table, which holds no errors, and test the rows of TABLE")
    rate = _number(float, "a number above 0 and below 1", lambda x: 0 < x < 1)
    add("--fdr", type=rate, metavar="RATE", help="with --fit-on: false discovery rate of the flagged rows (default: 0.1)")
    add("--top", type=_count(1), default=20, metavar="N", help="rows to print and to report (default: 20)")
    add("--fail", action="store_true", help="with --fit-on: exit with 1 where rows are flagged")


def _add_impute(commands: Any) -> None:
    impute = _command(commands, "impute", "fill in the missing values of a table")
    impute.add_argument("-o", "--out", metavar="OUT", required=True, help=f"the table without missing values; {OUT}")


def _add_reduce(commands: Any) -> None:
    reduce = _command(commands, "reduce", "replace the columns of a table by a few components, as PCA does")
    add = reduce.add_argument
    add("-k", type=_count(1), default=2, metavar="K", help="number of components (default: 2)")
    add("-o", "--out", metavar="OUT", required=True, help=f"one row of components for each row of TABLE; {OUT}")
    text = "draw the first two components; FILE is .png, .pdf or .svg (default: OUT with the suffix .png)"
    add("--plot", nargs="?", const="", metavar="FILE", help=text)


def _command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    """A command with the arguments that all have."""
    command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=EPILOG)
    add = command.add_argument
    add("table", metavar="TABLE", help=TABLE)
    add("--drop", nargs="+", action="extend", default=[], metavar="COLUMN", help="columns to leave out")
    add("--missing", nargs="+", action="extend", default=[], metavar="TEXT", help="cells that stand for a missing value")
    add("--encoding", metavar="NAME", help="encoding of csv files (default: utf-8)")
    add("--separator", metavar="CHAR", help="separator of csv files (default: recognised)")
    add("--seed", type=_count(0, 2**32 - 1), default=0, metavar="N", help="seed of the random numbers (default: 0)")
    result: argparse.ArgumentParser = command
    return result


def _count(least: int, most: float = math.inf) -> Callable[[str], Any]:
    span = f"a whole number of at least {least}" + (f" and at most {most}" if most < math.inf else "")
    return _number(int, span, lambda x: least <= x <= most)


def _number(kind: Callable[[str], Any], wanted: str, is_valid: Callable[[Any], bool]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not is_valid(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
        return value

    return read
