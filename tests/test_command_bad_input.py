"""Input that the command line cannot use: one line on standard error, exit code 2, and nothing left behind."""

import gzip
import io
import os
import sys
from pathlib import Path

import pandas as pd
import pytest

from skvae._command import writing
from skvae._command.program import main

ROWS = [f"{i % 7},{i * 0.5 % 3:.1f},{'ab'[i % 2]}" for i in range(30)]
GOOD = "\n".join(["x,y,kind", *ROWS]) + "\n"
LINES = ["x,y,kind", *ROWS]


def parquet(text: str = GOOD) -> bytes:
    pytest.importorskip("pyarrow")
    return pd.read_csv(io.StringIO(text)).to_parquet(index=False)


def arrow(text: str = GOOD) -> bytes:
    pytest.importorskip("pyarrow")
    buffer = io.BytesIO()
    pd.read_csv(io.StringIO(text)).to_feather(buffer)
    return buffer.getvalue()


def with_line(line: str, place: int = 5) -> str:
    return "\n".join([*LINES[:place], line, *LINES[place:]]) + "\n"


def column(name: str, cells: list[object]) -> str:
    return "\n".join(f"{line},{cell}" for line, cell in zip(LINES, [name, *cells], strict=True))


# (what the file holds, words of the message)
CONTENTS: dict[str, tuple[object, list[str]]] = {
    "empty": (b"", ["bad.csv", "is empty"]),
    "blank": (b" \n\n", ["is empty"]),
    "header only": ("x,y,kind\n", ["no rows"]),
    "one column": ("x\n1\n2\n3\n", ["one column", "--separator"]),
    "wrong separator": ("x~y\n1~2\n3~4\n", ["one column", "--separator"]),
    "one row": ("x,y\n1,2\n", ["only one row"]),
    "a long row": (with_line("1,2,a,4"), ["line 6", "4 cells", "header has 3"]),
    "a short row": (with_line("1,2"), ["line 6", "2 cells"]),
    "lines above the header": ("exported by X\n" + GOOD, ["line 2", "3 cells", "header has 1"]),
    "binary garbage": (bytes(range(256)) * 20, ["is not text", "csv"]),
    "NUL bytes": (GOOD.replace("0.5", "0\0005", 1), ["NUL", "line"]),
    "latin-1": (with_line("1,2,Zürich").encode("latin-1"), ["line 6", "byte", "0xfc", "--encoding cp1252"]),
    "utf-16": (GOOD.encode("utf-16"), ["UTF-16", "--encoding utf-16"]),
    "a huge cell": (with_line("1,2," + "a" * 200_000), ["line 6", "very long"]),
    "a quotation that does not end": (with_line('1,2,"a'), ["quotation marks"]),
    "a quotation that ends too early": (with_line('1,2,"a"b'), ["line 6", "quotation marks"]),
    "a name twice": (GOOD.replace("x,y", "x,x", 1), ["'x'", "twice", "1 and 2"]),
    "no name": (GOOD.replace("x,y", "x,", 1), ["column 2 has no name"]),
    "identifiers only": ("\n".join(["x,y", *(f"n{i},m{i}" for i in range(30))]), ["no column can be learned from"]),
    "all missing": ("\n".join(["x,y", *[","] * 30]), ["no column can be learned from"]),
    "constant": ("\n".join(["x,y", *["1,a"] * 30]), ["all rows are equal"]),
    "infinity": (column("z", [1, "inf", *range(28)]), ["'z'", "row 2", "infinity", "--drop z"]),
    "a number nearly too large": (column("z", [1, "1.7e308", *range(28)]), ["'z'", "row 2", "infinity"]),
    "a web page": ("<!DOCTYPE html><html><body><p>1</p></body></html>", ["web page", "csv"]),
    "JSON": ('[{"x": 1, "y": 2}]', ["JSON", "csv"]),
    "half a gzip file": (gzip.compress(GOOD.encode())[:60], ["gzip"]),
    "a damaged gzip file": (gzip.compress(GOOD.encode())[:-6] + b"000000", ["gzip"]),
    "half a parquet file": (lambda: parquet()[:300], ["damaged", "parquet"]),
    "a damaged Arrow file": (lambda: arrow()[:100] + b"\xff" * 200, ["damaged", "Arrow"]),
    "a workbook": (b"PK\x03\x04" + b"\0" * 100, ["Excel", "csv"]),
    "a parquet file without columns": (lambda: pd.DataFrame(index=range(3)).to_parquet(index=False), ["no columns"]),
    "a parquet file without rows": (lambda: parquet("x,y\n"), ["no rows"]),
    "lists": (lambda: pd.DataFrame({"x": range(30), "v": [[1, 2]] * 30}).to_parquet(), ["'v'", "--drop v"]),
}
if pd.__version__ >= "3":  # before, pandas reads such a number as none, and the cell is reported
    CONTENTS["a number too large"] = (column("z", [1, "1e999", *range(28)]), ["'z'", "row 2", "infinity"])
# (arguments, words of the message)
ARGUMENTS: dict[str, tuple[list[str], list[str]]] = {
    "no table": (["detect"], ["TABLE", "detect --help"]),
    "no output": (["impute", "good.csv"], ["-o"]),
    "unknown command": (["explain", "good.csv"], ["explain"]),
    "unknown option": (["detect", "good.csv", "--fix"], ["--fix"]),
    "missing file": (["detect", "none.csv"], ["none.csv", "no such file"]),
    "directory": (["detect", "."], ["is a directory"]),
    "NUL in a name": (["detect", "a\0b"], ["cannot be read"]),
    "fdr 2": (["detect", "good.csv", "--fit-on", "good.csv", "--fdr", "2"], ["--fdr", "'2'"]),
    "fdr text": (["detect", "good.csv", "--fit-on", "good.csv", "--fdr", "low"], ["--fdr", "'low'"]),
    "fdr without a clean table": (["detect", "good.csv", "--fdr", "0.1"], ["--fdr", "--fit-on"]),
    "fail without a clean table": (["detect", "good.csv", "--fail"], ["--fail", "--fit-on"]),
    "top 0": (["detect", "good.csv", "--top", "0"], ["--top", "at least 1"]),
    "seed -1": (["detect", "good.csv", "--seed", "-1"], ["--seed"]),
    "seed 2**40": (["detect", "good.csv", "--seed", str(2**40)], ["--seed"]),
    "k 0": (["reduce", "good.csv", "-o", "out.csv", "-k", "0"], ["-k", "at least 1"]),
    "k too large": (["reduce", "good.csv", "-o", "out.csv", "-k", "9"], ["-k 9", "3 columns"]),
    "plot of one component": (["reduce", "good.csv", "-o", "out.csv", "-k", "1", "--plot"], ["--plot", "-k 2"]),
    "plot of an unknown kind": (["reduce", "good.csv", "-o", "out.csv", "--plot", "p.bmp"], ["--plot", ".png"]),
    "drop unknown": (["detect", "good.csv", "--drop", "knd"], ["'knd'", "'kind'"]),
    "drop all": (["detect", "good.csv", "--drop", "x", "y", "kind"], ["--drop", "no column"]),
    "unknown suffix": (["detect", "good.csv", "-o", "out.xlsx"], ["out.xlsx", ".parquet"]),
    "report of an unknown kind": (["detect", "good.csv", "--report", "r.pdf"], ["r.pdf", ".html"]),
    "no directory for the output": (["detect", "good.csv", "-o", "none/out.csv"], ["no directory"]),
    "output is a directory": (["detect", "good.csv", "-o", "folder.csv"], ["is a directory"]),
    "a long name of the output": (["detect", "good.csv", "-o", "n" * 300 + ".csv"], ["cannot be written"]),
    "standard input twice": (["detect", "-", "--fit-on", "-"], ["the same", "--fit-on"]),
    "the clean table is the table": (["detect", "good.csv", "--fit-on", "./good.csv"], ["the same", "--fit-on"]),
    "empty standard input": (["detect", "-"], ["standard input", "empty"]),
    "unknown encoding": (["detect", "good.csv", "--encoding", "klingon"], ["klingon"]),
    "wrong encoding": (["detect", "latin.csv", "--encoding", "ascii"], ["ascii", "line 2"]),
    "long separator": (["detect", "good.csv", "--separator", "::"], ["'::'"]),
    "other separator": (["detect", "good.csv", "--separator", ";"], ["one column"]),
    "no column of the clean table": (["detect", "other.csv", "--fit-on", "good.csv"], ["none of the columns"]),
    "a column is missing": (["detect", "short.csv", "--fit-on", "good.csv"], ["'y'", "good.csv", "--drop y"]),
    "text for numbers": (["detect", "text.csv", "--fit-on", "good.csv"], ["'y'", "row 1", "'high'", "--drop y"]),
    "the clean table is none": (["detect", "good.csv", "--fit-on", "none.csv"], ["none.csv"]),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    frame = pd.read_csv(io.StringIO(GOOD))
    Path("good.csv").write_text(GOOD)
    Path("latin.csv").write_bytes("x,y\nü,1\n".encode("latin-1"))
    Path("folder.csv").mkdir()
    frame.rename(columns="new {}".format).to_csv("other.csv", index=False)
    frame.drop(columns="y").to_csv("short.csv", index=False)
    frame.assign(y=["high", "low", "mid"] * 10).to_csv("text.csv", index=False)
    return tmp_path


def check_refused(capsys: pytest.CaptureFixture, folder: Path, argv: list[str], words: list[str]) -> None:
    """Exit code 2, one line that names what is wrong, and no file that was not there."""
    before = sorted(folder.rglob("*"))
    assert main(argv) == 2
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    assert line.startswith("skvae: error: ")
    assert all(word in line for word in words), line
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(("content", "words"), CONTENTS.values(), ids=list(CONTENTS))
@pytest.mark.parametrize("argv", [["detect"], ["impute", "-o", "out.csv"], ["reduce", "-o", "out.csv"]], ids=lambda a: a[0])
def test_content(argv: list[str], content: object, words: list[str], folder: Path, capsys: pytest.CaptureFixture) -> None:
    content = content() if callable(content) else content
    Path("bad.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    check_refused(capsys, folder, [argv[0], "bad.csv", *argv[1:]], [*words, "bad.csv"])


@pytest.mark.parametrize(("argv", "words"), ARGUMENTS.values(), ids=list(ARGUMENTS))
def test_arguments(argv: list[str], words: list[str], folder: Path, capsys: pytest.CaptureFixture) -> None:
    check_refused(capsys, folder, argv, words)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do all")
@pytest.mark.parametrize(
    "argv", [["detect", "secret.csv"], ["detect", "good.csv", "-o", "shut/out.csv"], ["detect", "good.csv", "-o", "kept.csv"]]
)
def test_permissions(argv: list[str], folder: Path, capsys: pytest.CaptureFixture) -> None:
    for name, mode in {"secret.csv": 0o000, "kept.csv": 0o444}.items():
        Path(name).write_text(GOOD)
        Path(name).chmod(mode)
    Path("shut").mkdir(mode=0o555)
    check_refused(capsys, folder, argv, [])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_full_device(folder: Path, capsys: pytest.CaptureFixture) -> None:
    Path("out.csv").symlink_to("/dev/full")
    assert main(["detect", "good.csv", "-o", "out.csv"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "skvae: error: out.csv: cannot be written (No space left on device)"
    assert not list(folder.glob(".*"))


def test_full_disk_leaves_the_earlier_output(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_up(self: pd.DataFrame, file: io.BufferedWriter, **options: object) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fill_up)
    Path("out.csv").write_text("earlier")
    assert main(["impute", "good.csv", "-o", "out.csv"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("skvae: error: out.csv: cannot be written (No space")
    assert Path("out.csv").read_text() == "earlier"
    assert not list(folder.glob(".*"))


def test_second_output_that_cannot_be_written_takes_the_first_away(folder: Path, capsys: pytest.CaptureFixture) -> None:
    argv = ["detect", "good.csv", "-o", "out.csv", "--report", "none/report.html"]
    check_refused(capsys, folder, argv, ["none/report.html"])


def test_interruption_leaves_nothing(folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing.Output, "write", interrupt)
    assert main(["impute", "good.csv", "-o", "out.csv"]) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert not list(folder.glob("*out*"))


@pytest.mark.parametrize("name", ["pyarrow", "matplotlib"])
def test_optional_packages(name: str, folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = {
        "pyarrow": ["impute", "good.csv", "-o", "out.parquet"],
        "matplotlib": ["reduce", "good.csv", "-o", "out.csv", "--plot"],
    }[name]
    monkeypatch.setitem(sys.modules, name, None)
    check_refused(capsys, folder, argv, [f"pip install {name}"])


def test_parquet_without_pyarrow(folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("good.parquet").write_bytes(parquet())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    check_refused(capsys, folder, ["detect", "good.parquet"], ["good.parquet", "pip install pyarrow"])
