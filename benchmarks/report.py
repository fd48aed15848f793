"""What all benchmarks share: options, threads, a stopwatch, a file of raw rows, cells, Markdown tables."""

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from threadpoolctl import threadpool_limits

say = partial(print, flush=True)


class Parser(argparse.ArgumentParser):
    """A command line whose options have other defaults with ``--smoke``: a value each, or a function that makes it."""

    smoke: dict[str, Any]

    def parse_args(self, *given: Any) -> argparse.Namespace:
        args = super().parse_args(*given)
        if args.smoke:
            self.set_defaults(**{name: value() if callable(value) else value for name, value in self.smoke.items()})
            args = super().parse_args(*given)
        return args


def parser(doc: str, **smoke: Any) -> Parser:
    """A command line with the options that every benchmark has.

    ``doc`` is the module's docstring. ``smoke`` are the defaults with ``--smoke``, the smallest that still run all of the code.
    """
    result = Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.smoke = smoke
    result.add_argument("--threads", type=int, metavar="N", help="CPU threads of torch and BLAS; theirs where left out")
    result.add_argument("--json", type=Path, metavar="FILE", help="append the raw rows to this file, one JSON object per line")
    result.add_argument("--smoke", action="store_true", help="run in seconds, to see that everything works; measures nothing")
    return result


def add_epochs(parser: argparse.ArgumentParser) -> None:
    """Add how long to train."""
    kind = {"type": lambda text: text if text == "auto" else int(text), "default": "auto"}
    parser.add_argument("--epochs", **kind, metavar="N", help="of training our models; default auto, as theirs")


def training(model: str, epochs: int | str) -> dict[str, Any]:
    """The parameters that train a model of ours for so many epochs; rivals have none."""
    return {"max_iter": epochs} if model.startswith(("ours", "skvae")) else {}


def asked_for(args: argparse.Namespace, option: str, known: Iterable[str], default: Iterable[str] | None = None) -> list[str]:
    """The names that an option gives; the default, or all that are known, where it gives none."""
    known = list(known)
    names = getattr(args, option).split(",") if getattr(args, option) else list(known if default is None else default)
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"--{option}: there is no {', '.join(unknown)}; choose from {', '.join(known)}.")
    return names


def begin(args: argparse.Namespace) -> None:
    """Set the threads and say under what everything is measured."""
    import skvae  # here, as compare.py must not: it measures versions of the package in other processes

    if args.threads is not None:
        torch.set_num_threads(args.threads)
        threadpool_limits(args.threads)
    versions = f"skvae {skvae.__version__}, torch {torch.__version__}, scikit-learn {sklearn.__version__}"
    say(f"{versions}, Python {platform.python_version()}, {torch.get_num_threads()} threads\n")


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """The result of a call and the seconds it took."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def cpu_timed(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """The result of a call, the CPU seconds of all threads of this process, and the seconds that passed."""
    start = time.process_time()
    result, seconds = timed(function)
    return result, time.process_time() - start, seconds


class Rows:
    """Measured rows, written to a file of JSON lines one by one, where there is a file.

    A benchmark that was interrupted goes on where it stopped: ``once`` measures only what the file does not hold. The file
    does not know which version of the code measured it, so a new version needs a new file.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if path is not None and path.exists():
            self.rows = [json.loads(line) for line in path.read_text().splitlines()]

    def add(self, row: dict[str, Any]) -> dict[str, Any]:
        self.rows.append(row)
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        return row

    def once(self, measure: Callable[[], dict[str, Any]], **key: Any) -> dict[str, Any]:
        """The row of this key, ``key | measure()`` where it is not there yet."""
        known = next((row for row in self.rows if key.items() <= row.items()), None)
        return known or self.add(key | measure())


Row = dict[str, Any]
Cell = tuple[str, int]


def by_cell(rows: list[Row], model: str) -> dict[Cell, list[Row]]:
    """The rows of a model, one per split, of every pair of a table and a code size that it ran on."""
    cells: dict[Cell, list[Row]] = {}
    for row in rows:
        if row["model"] == model:
            cells.setdefault((row["set"], row["k"]), []).append(row)
    return cells


def mean(rows: list[Row], what: str) -> float:
    return float(np.mean([row[what] for row in rows]))


def say_table(headers: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print a Markdown table; cells that are numbers are to be formatted before."""
    lines = [[str(cell) for cell in line] for line in (headers, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    say()
    for line in lines:
        say("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
    say()
