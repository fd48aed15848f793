"""The command line: tables in, tables and exit codes out."""

import gzip
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine

import skvae
from skvae import AEAnomalyDetector, AutoencoderTransformer
from skvae._command import tables
from skvae._command.arguments import parser
from skvae._command.program import main

LOADERS = {"breast_cancer": load_breast_cancer, "diabetes": load_diabetes, "iris": load_iris, "wine": load_wine}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def people(n: int = 120, seed: int = 0) -> pd.DataFrame:
    """A number that follows from another one, a category, a date and a name."""
    rng = np.random.default_rng(seed)
    height = rng.normal(170, 10, n).round(1)
    return pd.DataFrame(
        {
            "name": [f"person {i}" for i in range(n)],
            "height": height,
            "weight": (height * 0.9 - 80 + rng.normal(0, 3, n)).round(1),
            "children": rng.poisson(1.5, n),
            "city": rng.choice(["Ulm", "Graz", "Bern"], n),
            "born": pd.Timestamp("1980-01-01") + pd.to_timedelta(rng.integers(0, 9000, n), unit="D"),
        }
    )


def options(**given: object) -> object:
    found = parser().parse_args(["detect", "table.csv"])
    vars(found).update(given)
    return found


def read(content: str | bytes, **given: object) -> tables.Table:
    Path("table.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    return tables.read_table("table.csv", options(**given))


def column(cells: list[object], separator: str = "|") -> str:
    """A csv of these cells and a number."""
    return "\n".join([f"c{separator}n", *(f"{cell}{separator}{i * i % 17}" for i, cell in enumerate(cells))])


# Reading


def test_separator_that_a_shell_passes_as_two_characters() -> None:
    assert read("a\tb\n1\t2\n3\t5\n", separator=r"\t").rows.shape == (2, 2)


@pytest.mark.skipif(pd.__version__ < "3", reason="reads no dates of the year 0")
def test_years_that_pandas_cannot_write() -> None:
    table = read(column([f"0000-0{i % 9 + 1}-01" for i in range(30)], ","))
    assert table.kinds["c"] == "date"
    assert table.styles["c"].written(table.rows["c"].iloc[0]).startswith("0000-01-01")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("wrap", ["plain", "bom", "gz", "crlf"])
def test_csv(separator: str, wrap: str) -> None:
    text = people().to_csv(index=False, sep=separator)
    text = text.replace("\n", "\r\n") if wrap == "crlf" else text
    content = text.encode("utf-8-sig" if wrap == "bom" else "utf-8")
    table = read(gzip.compress(content) if wrap == "gz" else content)
    assert table.kinds == {
        "name": "left out",
        "height": "number",
        "weight": "number",
        "children": "number",
        "city": "category",
        "born": "date",
    }
    pd.testing.assert_frame_equal(
        table.rows.reset_index(drop=True), people().drop(columns="name"), check_dtype=False, check_index_type=False
    )


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1,5", "22,75", "3"], [1.5, 22.75, 3]),
        (["1.234,5", "2.000", "17"], [1234.5, 2000, 17]),
        (["1,234.5", "2,000", "17"], [1234.5, 2000, 17]),
        (["1'234", "2'000", "17"], [1234, 2000, 17]),
        (["1 234,5", "2 000", "17"], [1234.5, 2000, 17]),
        (["$1,234.50", "$7", "$12"], [1234.5, 7, 12]),
        (["12 %", "7.5 %", "100 %"], [12, 7.5, 100]),
        (["1e3", "-2.5E-1", "7"], [1000, -0.25, 7]),
        (["1.500", "2.250", "3.125"], [1.5, 2.25, 3.125]),
        (["1,234", "2,345", "12,000"], [1234, 2345, 12000]),
        ([" 1 ", "NA", "?"], [1, np.nan, np.nan]),
    ],
)
def test_numbers(cells: list[str], values: list[float]) -> None:
    table = read(column(cells * 10))
    assert table.kinds["c"] == "number"
    assert table.rows["c"].astype(float).tolist()[:3] == pytest.approx(values, nan_ok=True)
    assert not table.wrong


def test_a_column_that_does_not_tell_follows_the_others() -> None:
    by_comma = "\n".join(["a;b;c", *(f"{i},5;1.{i * i % 999:03};1,{i * i % 999:03}" for i in range(30))])
    assert read(by_comma).rows.iloc[3].tolist() == [3.5, 1009, 1.009]
    by_point = "\n".join(["a;b;c", *(f"{i}.5;1.{i * i % 999:03};1,{i * i % 999:03}" for i in range(30))])
    assert read(by_point).rows.iloc[3].tolist() == [3.5, 1.009, 1009]


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])
def test_dates(form: str) -> None:
    moments = pd.date_range("2024-01-07", periods=60, freq="31h", tz="UTC" if "%z" in form else None)
    table = read(column(list(moments.strftime(form))))
    assert table.kinds["c"] == "date"
    assert table.rows["c"].dt.strftime("%m-%d").tolist() == moments.strftime("%m-%d").tolist()
    assert table.styles["c"].written(moments[40]) == moments[40].strftime(form)


def test_the_style_that_fits_most_cells_is_taken() -> None:
    table = read(column(["5", "17"] * 100 + ["1,234", "2,500", "3,000"]))
    assert not table.wrong
    assert table.rows["c"].max() == 3000
    table = read(column(["5,5", "17,25"] * 100 + ["1.5o", "2.000,5"]))
    assert [cell.text for cell in table.wrong] == ["1.5o"]
    assert table.rows["c"].max() == 2000.5


def test_codes_stay_text() -> None:
    assert read(column(["007", "010", "123"] * 10)).kinds["c"] == "category"


def test_cells_that_are_no_numbers_are_told(capsys: pytest.CaptureFixture) -> None:
    frame = people()
    cells = frame["height"].astype(str).tolist()
    cells[6] = "17o.3"
    Path("table.csv").write_text(frame.assign(height=cells).to_csv(index=False))
    assert main(["detect", "table.csv", "--top", "2"]) == 0
    told = capsys.readouterr()
    assert "1 cell cannot be read: '17o.3' in row 7" in re.sub(r"\s+", " ", told.err)
    first = next(line for line in told.out.splitlines() if line.split()[:1] == ["1"])
    assert first.split()[1] == "7"
    assert "height" in first
    assert "17o.3" in first
    assert "1 cell cannot be read" in told.out


def test_too_many_cells_that_are_no_numbers_make_text() -> None:
    cells = [str(i % 9) for i in range(90)] + ["U"] * 10
    table = read(column(cells))
    assert table.kinds["c"] == "category"
    assert "--missing U" in table.notes["c"]
    table = read(column(cells), missing=["U"])
    assert table.kinds["c"] == "number"
    assert table.rows["c"].isna().sum() == 10


def test_what_names_or_counts_rows_is_left_out() -> None:
    frame = people().assign(number=range(1000, 1120))
    table = read(frame.to_csv())
    assert table.notes[""] == "names the rows"
    assert table.notes["number"] == "counts the rows"
    assert "120 different texts" in table.notes["name"]
    assert list(table.rows) == ["height", "weight", "children", "city", "born"]


def test_separators_at_the_ends_of_lines_are_no_column() -> None:
    assert list(read("a,b,\n1,2,\n3,4,\n").file.frame) == ["a", "b"]


def test_numbers_in_place_of_names_are_told(capsys: pytest.CaptureFixture) -> None:
    Path("table.csv").write_text(load_iris(as_frame=True).data.iloc[20:80].to_csv(index=False).partition("\n")[2])
    assert main(["reduce", "table.csv", "-o", "out.csv", "-k", "1"]) == 0
    assert "are numbers; add a line of names" in capsys.readouterr().err


def test_wide_tables_are_summed_up(capsys: pytest.CaptureFixture) -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 50))).add_prefix("c").assign(kind=list("ab") * 15)
    frame.loc[3, "c7"] = np.nan
    frame.to_csv("table.csv", index=False)
    assert main(["detect", "table.csv", "--top", "1"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["table.csv:", "column", "c7", "kind", "and"]
    assert lines[-1] == "  and 49 more"


def test_encoding_and_separator() -> None:
    content = "a~b\nü~1\nö~2\nü~3\n".encode("cp1252")
    assert read(content, encoding="cp1252", separator="~").rows["a"].tolist() == ["ü", "ö", "ü"]


@pytest.mark.parametrize("kind", ["parquet", "feather", "stream"])
def test_arrow(kind: str) -> None:
    pa = pytest.importorskip("pyarrow")
    frame = people().assign(city=lambda X: X["city"].astype("category"), adult=True)
    table = pa.Table.from_pandas(frame)
    buffer = io.BytesIO()
    if kind == "stream":
        with pa.ipc.new_stream(buffer, table.schema) as writer:
            writer.write_table(table)
    else:
        getattr(frame, f"to_{kind}")(buffer)
    found = read(buffer.getvalue())
    kinds = ["left out", "number", "number", "number", "category", "date", "boolean"]
    assert list(found.kinds.values()) == kinds
    assert found.rows["children"].tolist() == frame["children"].tolist()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_standard_input(kind: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    content = people().to_csv(index=False).encode() if kind == "csv" else people().to_parquet()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert main(["detect", "-", "--top", "1"]) == 0
    assert "standard input: the 1 oddest of 120 rows" in capsys.readouterr().out


# detect


@pytest.mark.parametrize("name", list(LOADERS))
def test_a_planted_error_is_on_top(name: str, capsys: pytest.CaptureFixture) -> None:
    frame = LOADERS[name](as_frame=True).data
    spoiled = frame.columns[1]
    frame.loc[17, spoiled] = frame[spoiled].max() * 10 + 1
    frame.to_csv("table.csv", index=False)
    assert main(["detect", "table.csv", "-o", "out.csv"]) == 0
    found = pd.read_csv("out.csv")
    assert found.loc[0, ["row", "rank", "column_1"]].tolist() == [18, 1, spoiled]
    assert float(found.loc[0, "found_1"]) == pytest.approx(frame.loc[17, spoiled])
    assert frame[spoiled].drop(17).min() <= float(found.loc[0, "expected_1"]) <= frame[spoiled].drop(17).max()
    assert sorted(found["row"]) == list(range(1, len(frame) + 1))
    assert found["score"].is_monotonic_decreasing
    pd.testing.assert_frame_equal(
        found.sort_values("row")[list(frame)].reset_index(drop=True), frame, check_dtype=False, rtol=1e-12
    )
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "written: out.csv" in out


def test_scores_are_those_of_the_estimator() -> None:
    people().to_csv("table.csv", index=False)
    main(["detect", "table.csv", "-o", "out.csv", "--drop", "born", "name", "--seed", "3"])
    X = people().drop(columns=["born", "name"])
    X.index = pd.RangeIndex(1, 121)
    detector = AEAnomalyDetector(contamination="auto", random_state=3).fit(X)
    found = pd.read_csv("out.csv").sort_values("row")
    np.testing.assert_allclose(found["score"], detector.decision_scores_, rtol=1e-5)
    assert "p_value" not in found


@pytest.fixture
def clean(folder: Path) -> pd.DataFrame:
    """A table without errors, and another one with a wrong cell in its second row."""
    people(200).to_csv("clean.csv", index=False)
    later = people(30, seed=1)
    later.loc[1, "weight"] = 800.0
    later.to_csv("later.csv", index=False)
    return later


def test_fit_on(clean: pd.DataFrame, capsys: pytest.CaptureFixture) -> None:
    clean[clean.columns[::-1]].assign(remark="x").to_csv("later.csv", index=False, sep=";", decimal=",")
    assert main(["detect", "later.csv", "--fit-on", "clean.csv", "--fdr", "0.2", "--fail", "-o", "out.csv"]) == 1
    found = pd.read_csv("out.csv")
    assert list(found)[:8] == ["row", "rank", "score", "p_value", "flag", "column_1", "found_1", "expected_1"]
    assert found.loc[0, ["row", "column_1", "found_1", "flag"]].tolist() == [2, "weight", "800,0", True]
    told = capsys.readouterr()
    assert "not in clean.csv" in told.err
    assert re.search(r"\* \d+ of 30 rows flagged, at a false discovery rate of 0.2", told.out)


def test_p_values_that_are_too_large_to_flag_a_row_are_told(clean: pd.DataFrame, capsys: pytest.CaptureFixture) -> None:
    people(50).to_csv("clean.csv", index=False)
    assert main(["detect", "later.csv", "--fit-on", "clean.csv", "--top", "1"]) == 0
    assert "no p-value is below 0.02" in capsys.readouterr().err


def test_fail_without_flagged_rows(clean: pd.DataFrame) -> None:
    clean.drop(index=1).to_csv("later.csv", index=False)
    assert main(["detect", "later.csv", "--fit-on", "clean.csv", "--fail", "--fdr", "0.01"]) == 0


def test_cells_that_cannot_be_read_are_flagged(clean: pd.DataFrame) -> None:
    clean.drop(index=1).assign(children=lambda X: ["many", *X["children"].astype(str)[1:]]).to_csv("later.csv", index=False)
    assert main(["detect", "later.csv", "--fit-on", "clean.csv", "--fail", "--fdr", "0.01", "-o", "out.csv"]) == 1
    found = pd.read_csv("out.csv")
    assert found.loc[0, ["row", "column_1", "found_1"]].tolist() == [1, "children", "many"]
    assert found["flag"].tolist() == [True] + [False] * 28


@pytest.mark.parametrize("fit_on", [[], ["--fit-on", "clean.csv"]])
def test_report(fit_on: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    made = []
    report_of = AEAnomalyDetector._report

    def report(self: AEAnomalyDetector, X: pd.DataFrame, *given: object, **how: object) -> object:
        made.append(report_of(self, X, *given, **how))
        if len(made) == 1:
            self.report(X, **how)
        return made[0]

    monkeypatch.setattr(AEAnomalyDetector, "_report", report)
    frame = people(120).astype({"height": object})
    frame.loc[6, "height"] = "1<80"
    frame.to_csv("table.csv", index=False)
    people(200, seed=1).to_csv("clean.csv", index=False)
    assert main(["detect", "table.csv", "--report", "report.html", "--top", "3", *fit_on]) == 0
    assert "written: report.html" in capsys.readouterr().out
    ours, scored_again = made
    assert ours.labels == list(range(1, 121))
    np.testing.assert_array_equal(ours.scores, scored_again.scores)
    np.testing.assert_array_equal(ours.p_values, scored_again.p_values)
    page = Path("report.html").read_text(encoding="utf-8")
    notes = ("Rows are numbered from 1", "Columns left out: name.", "count as missing here: 1&lt;80 in row 7, height.")
    assert all(text in page for text in ("Anomaly report: table.csv", *notes))


def test_names_of_the_result_are_kept_apart() -> None:
    people().rename(columns={"height": "score"}).to_csv("table.csv")
    main(["detect", "table.csv", "-o", "out.parquet"])
    found = pd.read_parquet("out.parquet")
    assert {"score", "score (table)", "index (table)", "weight"} <= set(found)


# impute


def test_impute_csv(capsys: pytest.CaptureFixture) -> None:
    frame = people(60)
    frame.insert(0, "code", [f"{i:04}" for i in range(60)])
    text = frame.to_csv(index=False, sep=";", decimal=",", date_format="%d.%m.%Y").splitlines()
    holes = {3: "height", 9: "children", 11: "city", 20: "born"}
    header = text[0].split(";")
    for row, label in holes.items():
        cells = text[row].split(";")
        cells[header.index(label)] = "NA"
        text[row] = ";".join(cells)
    Path("table.csv").write_text("\n".join(text) + "\n")
    assert main(["impute", "table.csv", "-o", "out.csv"]) == 0
    result = Path("out.csv").read_text().splitlines()
    assert len(result) == len(text)
    for row, (before, after) in enumerate(zip(text, result, strict=True)):
        for label, old, new in zip(header, before.split(";"), after.split(";"), strict=True):
            if holes.get(row) != label:
                assert new == old
    patterns = {"height": r"\d+,\d", "children": r"\d", "city": "Ulm|Graz|Bern", "born": r"\d\d\.\d\d\.(19|20)\d\d"}
    for row, label in holes.items():
        assert re.fullmatch(patterns[label], result[row].split(";")[header.index(label)])
    assert "4 values filled in" in capsys.readouterr().out


def test_impute_parquet() -> None:
    pytest.importorskip("pyarrow")
    frame = people(60).astype({"children": "Int64"})
    frame.loc[[4, 7], "children"] = pd.NA
    frame.loc[5, "city"] = None
    frame.to_parquet("table.parquet")
    assert main(["impute", "table.parquet", "-o", "out.parquet", "--drop", "height"]) == 0
    result = pd.read_parquet("out.parquet")
    assert list(result) == list(frame)
    assert not result.isna().any().any()
    assert result["children"].dtype == np.int64
    for label in frame:
        kept = frame[label].notna()
        assert result[label][kept].tolist() == frame[label][kept].tolist()


def test_impute_complete_table(capsys: pytest.CaptureFixture) -> None:
    text = people().to_csv(index=False)
    Path("table.csv").write_text(text)
    assert main(["impute", "table.csv", "-o", "table.csv"]) == 0
    assert Path("table.csv").read_text() == text
    assert "no value is missing" in capsys.readouterr().err


# reduce


def test_reduce(capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("matplotlib")
    load_wine(as_frame=True).data.to_csv("table.csv", index=False)
    assert main(["reduce", "table.csv", "-k", "3", "-o", "out.tsv", "--plot"]) == 0
    codes = pd.read_csv("out.tsv", sep="\t")
    assert codes.shape == (178, 3)
    assert list(codes) == [f"autoencodertransformer{i}" for i in range(3)]
    assert Path("out.png").read_bytes().startswith(b"\x89PNG")
    pattern = r"log-likelihood per row ([-\d.]+) nats, ([-\d.]+) by PCA; ([\d.]+)% of the variance"
    of_ours, of_pca, explained = map(float, re.search(pattern, capsys.readouterr().out).groups())
    model = AutoencoderTransformer(3, random_state=0).fit(load_wine(as_frame=True).data)
    assert of_ours == pytest.approx(model.validation_scores_[model.best_iter_], abs=0.01)
    assert of_pca == pytest.approx(model.validation_scores_[0], abs=0.01)
    assert explained == pytest.approx(100 * model.explained_variance_ratio_.sum(), abs=0.1)


def test_reduce_mixed_table(capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("matplotlib")
    people(60).to_csv("table.csv", index=False)
    assert main(["reduce", "table.csv", "-o", "out.csv.gz", "--plot", "plot.svg"]) == 0
    assert pd.read_csv("out.csv.gz").shape == (60, 2)
    assert "<svg" in Path("plot.svg").read_text()
    assert re.search(r"held-out rows: log-likelihood per row \S+ nats, \S+ by a linear model", capsys.readouterr().out)


def test_reduce_few_rows(capsys: pytest.CaptureFixture) -> None:
    load_iris(as_frame=True).data.iloc[::20].to_csv("table.csv", index=False)
    assert main(["reduce", "table.csv", "-o", "out.csv"]) == 0
    assert "those of PCA" in capsys.readouterr().out


# The program


def test_help_names_all_options(capsys: pytest.CaptureFixture) -> None:
    page = (Path(__file__).parents[1] / "docs" / "guide" / "command.md").read_text(encoding="utf-8")
    for command in ("detect", "impute", "reduce"):
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        for option in set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}:
            assert f"`{option}" in page, option


def test_without_arguments(capsys: pytest.CaptureFixture) -> None:
    assert main([]) == 2
    assert "usage: skvae" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"skvae {skvae.__version__}\n"


def test_permissions_of_the_output_are_kept() -> None:
    people(60).to_csv("table.csv", index=False)
    Path("out.csv").touch()
    Path("out.csv").chmod(0o640)
    Path("link.csv").symlink_to("out.csv")
    assert main(["impute", "table.csv", "-o", "link.csv"]) == 0
    assert Path("link.csv").is_symlink()
    assert Path("out.csv").stat().st_mode & 0o777 == 0o640


def test_control_characters_do_not_reach_the_terminal(capsys: pytest.CaptureFixture) -> None:
    frame = people(60).assign(city=lambda X: X["city"] + "\x1b[31m\n")
    frame.to_csv("table.csv", index=False)
    assert main(["detect", "table.csv"]) == 0
    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err


def process(*argv: str, **given: object) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(Path(skvae.__file__).parents[1])}
    return subprocess.Popen([sys.executable, "-m", "skvae", *argv], env=environment, stderr=subprocess.PIPE, **given)


@pytest.mark.slow
def test_closed_pipe() -> None:
    people(60).to_csv("table.csv", index=False)
    reader, writer = os.pipe()
    os.close(reader)
    with process("detect", "table.csv", "-o", "out.csv", stdout=writer) as running:
        os.close(writer)
        error = running.stderr.read().decode()
    assert running.returncode == 141
    assert "Error" not in error
    assert Path("out.csv").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_full_standard_output(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    people(60).to_csv("table.csv", index=False)
    with Path("/dev/full").open("w") as full:  # and what is left is flushed to nowhere
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["detect", "table.csv"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "skvae: error: standard output: No space left on device"


@pytest.mark.slow
def test_tour_is_what_comes_without_arguments() -> None:
    with process(stdout=subprocess.PIPE) as running:
        first = running.stdout.readline().decode()
        running.kill()
    assert first == f"skvae {skvae.__version__}: autoencoders for people who use scikit-learn\n"
