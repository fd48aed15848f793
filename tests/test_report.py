"""The report says what the detector says, needs nothing else, and takes any cell."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import false_discovery_control
from sklearn.datasets import load_wine

from skvae import AEAnomalyDetector, AnomalyReport
from skvae._display.cells import rounded
from skvae._html.charts import MOST_POINTS, Axis, histogram, plane, some_of
from skvae._html.elements import element
from skvae._html.page import cell_map, reasons

SHORT = {"hidden_layer_sizes": (16,), "n_components": 8, "cv": 2, "random_state": 0}
EVIL = "<script>alert('x')</script>&\"'"


def mixed():
    frame = load_wine(as_frame=True).data.iloc[:, :5].copy()
    frame["day"] = pd.Timestamp("2024-05-01") + pd.to_timedelta(np.random.default_rng(0).integers(0, 90, len(frame)), "D")
    frame["grape"] = pd.Categorical(np.array(["red", "white", EVIL])[load_wine().target])
    frame["is_old"] = frame["alcohol"] > 13
    frame["note"] = np.nan
    frame.loc[3:20, "magnesium"] = np.nan
    frame.loc[7, "ash"] = 24.5
    return frame


FRAME = mixed()


@pytest.fixture(scope="module")
def detector():
    return AEAnomalyDetector(contamination=0.05, **SHORT).fit(FRAME)


@pytest.fixture(scope="module")
def report(detector):
    return detector.report(FRAME, n_rows=5, title="Wines & others")


class Page(HTMLParser):
    """Every tag of a page with its attributes, and its text; fails where tags are not closed in order."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_rows_are_those_of_the_detector(detector, report):
    np.testing.assert_array_equal(report.scores, -detector.score_samples(FRAME))
    np.testing.assert_array_equal(report.flagged, detector.predict(FRAME) == -1)
    assert report.threshold == -detector.offset_
    assert [report.labels[i] for i in report.oddest] == list(FRAME.index[np.argsort(-report.scores, kind="stable")[:5]])
    assert report.labels[report.oddest[0]] == 7


def test_cells_are_those_that_explain_says(detector, report):
    shown = FRAME.iloc[report.oddest]
    contributions, expected = detector.explain(shown, return_expected=True)
    added = contributions.clip(lower=0)
    np.testing.assert_allclose(report.shares, added.div(added.sum(axis=1), axis=0))
    np.testing.assert_array_equal(report.expected[:, :5].astype(float), expected.iloc[:, :5])
    assert report.expected[:, 6].tolist() == expected["grape"].tolist()
    page = Page(report.to_html())
    assert f"24.5, expected {expected.loc[7, 'ash']:.4g}" in "".join(page.text)
    titles = [attributes["title"] for tag, attributes in page.tags if tag == "td" and "title" in attributes]
    assert sum(title.startswith("ash: ") for title in titles) == 5


def test_blame_counts_flagged_rows(detector, report):
    explained = detector.explain(FRAME[report.flagged])
    assert report.blame.sum() == report.flagged.sum() == 9
    counts = explained.idxmax(axis=1).value_counts()
    assert {column.name: n for column, n in zip(report.columns, report.blame, strict=True) if n} == counts.to_dict()


def test_columns_say_what_they_hold(report):
    accounts = {column.name: column for column in report.columns}
    assert {name: account.kind for name, account in accounts.items()} == {
        **dict.fromkeys(FRAME.columns[:5], "number"),
        "day": "datetime",
        "grape": "category",
        "is_old": "boolean",
        "note": "ignored",
    }
    assert accounts["magnesium"].missing == pytest.approx(18 / 178)
    alcohol = FRAME["alcohol"].quantile([0.5, 0.05, 0.95], interpolation="nearest")
    assert accounts["alcohol"].holds == "median {:.4g}, 90% from {:.4g} to {:.4g}".format(*alcohol)
    assert accounts["grape"].holds.startswith("white 40%, red 33%, <scri")
    assert accounts["is_old"].holds == f"True {FRAME['is_old'].mean():.0%}, False {1 - FRAME['is_old'].mean():.0%}"
    assert "2024-06" in accounts["day"].holds


def test_the_page_needs_no_network_and_runs_nothing(report):
    html = report.to_html()
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
    names = {name for _, attributes in page.tags for name in attributes}
    assert not [name for name in names if name in {"src", "href"} or name.startswith("on")]
    assert "url(" not in html
    assert "@import" not in html
    assert "Wines &amp; others" in html
    assert EVIL in "".join(page.text)  # as text


def test_every_text_is_escaped():
    frame = pd.DataFrame({EVIL: np.random.default_rng(0).normal(size=60), "b": [EVIL] * 30 + ["x"] * 30})
    frame.index = [f"{EVIL}{i}" for i in range(60)]
    page = Page(AEAnomalyDetector(**SHORT).fit(frame).report(frame, title=EVIL).to_html())
    assert "script" not in {tag for tag, _ in page.tags}
    assert "".join(page.text).count("<script>") > 4


def test_a_notebook_shows_a_part_of_a_page(report):
    fragment = report._repr_html_()
    Page(fragment)
    assert fragment.startswith('<div class="skvae-report">')
    assert "<body" not in fragment
    rules = re.findall(r"^([^{}@\n]+){", (fragment.split("<style>")[1].split("</style>")[0]), flags=re.MULTILINE)
    assert all(selector.strip().startswith(".skvae-report") for rule in rules for selector in rule.split(","))


def test_save_writes_the_page(report, tmp_path):
    report.save(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == report.to_html()


def test_a_rate_flags_by_p_values(detector):
    rng = np.random.default_rng(0)
    train, later = rng.normal(size=(400, 3)), rng.normal(size=(40, 3))
    later[:3] += 40
    fitted = AEAnomalyDetector(support_fraction=1.0, **SHORT).fit(train)
    report = fitted.report(later, false_discovery_rate=0.2)
    np.testing.assert_array_equal(report.p_values, fitted.p_values(later))
    np.testing.assert_array_equal(report.flagged, false_discovery_control(fitted.p_values(later)) <= 0.2)
    assert report.flagged[:3].all()
    assert report.threshold == report.scores[report.flagged].min()
    html = report.to_html()
    assert "flagged at a false discovery rate of 20%" in html
    assert "p-value" in html


def test_the_fewest_rows_that_a_rate_can_flag_are_said():
    rng = np.random.default_rng(0)
    fitted = AEAnomalyDetector(support_fraction=1.0, **SHORT).fit(rng.normal(size=(100, 3)))
    report = fitted.report(rng.normal(size=(50, 3)), false_discovery_rate=0.1)
    assert report.least_flagged == 5  # 5 / 50 * 0.1 = 1 / 100 is just less than 1 / 101, and 4 / 50 * 0.1 is more
    assert "At least 5 rows are flagged, or none" in report.to_html()


def test_no_row_flagged_draws_no_threshold():
    rng = np.random.default_rng(0)
    fitted = AEAnomalyDetector(support_fraction=1.0, **SHORT).fit(rng.normal(size=(100, 3)))
    report = fitted.report(rng.normal(size=(50, 3)), false_discovery_rate=1e-6)
    assert report.threshold is None
    assert "threshold" not in "".join(Page(report.to_html()).text)
    assert "No row is flagged" in report.to_html()


def test_training_rows_are_counted(detector, report):
    assert report.n_known == 178
    assert "All rows are in the training table" in report.to_html()
    later = FRAME.copy()
    later["alcohol"] += 0.001
    later.iloc[:2] = FRAME.iloc[:2]
    assert detector.report(later, false_discovery_rate=0.1).n_known == 2


@pytest.mark.parametrize("convert", [pl.from_pandas, pd.DataFrame.to_numpy, lambda frame: frame.to_numpy().tolist()])
def test_containers(convert):
    X = convert(load_wine(as_frame=True).data)
    report = AEAnomalyDetector(**SHORT).fit(X).report(X, n_rows=3)
    assert report.labels == list(range(178))
    Page(report.to_html())


def test_a_table_without_networks_has_no_codes():
    X = np.random.default_rng(0).normal(size=(20, 2))
    report = AEAnomalyDetector(random_state=0).fit(X).report(X)
    assert report.codes is None
    assert "there are no codes" in report.to_html()


def test_a_single_row_of_a_single_column(detector):
    X = np.random.default_rng(0).normal(size=(60, 1))
    report = AEAnomalyDetector(**SHORT).fit(X).report(X[:1])
    Page(report.to_html())
    assert "1 rows" not in report.to_html()


def test_a_report_of_a_thousand_rows_is_small():
    X = np.random.default_rng(0).normal(size=(1000, 30))
    assert len(AEAnomalyDetector(max_iter=1, **SHORT).fit(X).report(X).to_html()) < 300_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_rows": 0}, "n_rows=0; it must be an integer of at least 1"),
        ({"false_discovery_rate": 0}, "false_discovery_rate=0; it must be a number between 0 and 1, such as 0.1"),
        ({"false_discovery_rate": "auto"}, "false_discovery_rate='auto'"),
    ],
)
def test_what_cannot_be_used_is_refused(detector, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        detector.report(FRAME, **options)


def test_every_row_is_in_one_bar():
    scores = np.random.default_rng(0).standard_cauchy(500)
    threshold = float(np.quantile(scores, 0.9))
    page = Page(histogram(scores, threshold))
    bars = [attributes for tag, attributes in page.tags if tag == "rect"]
    heights = np.array([float(bar["height"]) for bar in bars])
    counts = np.expm1(heights / 100 * np.log1p(np.histogram(scores, 1)[0][0]))  # of the unit that the tallest bar sets
    assert (counts > 0).all()
    line = float(re.search(r"left:([\d.]+)%", str(histogram(scores, threshold))).group(1))
    assert all((float(bar["x"]) >= line - 0.01) == (bar.get("class") == "odd") for bar in bars)


def test_ticks_are_at_their_places():
    axis = Axis(np.array([-1.0, 0.5, 2.0, 300.0]))
    ticks = axis.ticks()
    assert 0 in ticks
    assert 100 in ticks
    np.testing.assert_allclose(axis.place(axis.edges(4)), np.linspace(0, 1, 5), atol=1e-12)
    assert np.diff(axis.place(ticks)).min() >= 0.1


def test_large_tables_draw_some_rows():
    scores = np.random.default_rng(0).normal(size=7001)
    drawn = some_of(scores)
    assert len(drawn) == len(set(drawn)) <= MOST_POINTS
    assert set(drawn) >= set(np.argsort(-scores)[:1000])


def test_one_row_among_equal_codes():
    Page(plane(np.zeros((1, 3)), np.array([True]), np.array([2.0]), str))


def test_elements_escape_what_is_no_element():
    assert element("p", "a < b", element("b", 1), title='"') == '<p title="&quot;">a &lt; b<b>1</b></p>'
    assert element("rect", x=1, class_=None) == '<rect x="1"/>'


def test_its_repr_is_short(report):
    assert repr(report) == "<AnomalyReport of 178 rows, 9 flagged>"
    assert isinstance(report, AnomalyReport)


def test_expected_dates_are_as_fine_as_those_found(report):
    instead = re.findall(r"day: (2024-[^;]*);", report.to_html())
    assert instead
    assert all(re.fullmatch(r"2024-\d\d-\d\d(, expected 2024-\d\d-\d\d)?", text) for text in instead)


def test_the_first_cell_of_a_row_is_named_however_small_its_share(report):
    shares = np.full_like(report.shares, 0.01)
    shares[:, 2] = 0.02
    rows = reasons(replace(report, shares=shares)).split("<tr>")[2:]
    assert [re.findall("<b>(.*?)</b>", row) for row in rows] == [["ash"]] * 5


def test_directions_of_scripts_are_kept_apart(report):
    columns = [replace(column, name="\u05d0\u05d1") for column in report.columns]
    assert "<b>\u2068\u05d0\u05d1\u2069</b>" in reasons(replace(report, columns=columns))


def test_long_names_are_shortened(report):
    columns = [replace(column, name="x" * 500) for column in report.columns]
    assert "x" * 61 not in cell_map(replace(report, columns=columns))


def test_estimated_durations_are_whole_seconds():
    assert rounded(pd.Timedelta("2 days 03:04:05.678"), 40) == "2 days 03:04:05"
    assert rounded(pd.Timedelta("250 ms"), 40) == "0 days 00:00:00.250000"


def test_rows_of_an_index_of_several_levels_are_told_apart():
    days = pd.date_range("2024-01-01", periods=len(FRAME), name="day")
    frame = FRAME.set_axis(pd.MultiIndex.from_arrays([["a, b"] * len(FRAME), days]))
    html = AEAnomalyDetector(contamination=0.05, **SHORT).fit(frame).report(frame, n_rows=3).to_html()
    assert html.count('<th scope="row">a, b, 2024-01-08</th>') == 2


def test_nothing_is_to_blame_where_all_rows_are_equal():
    rows = np.ones((30, 3))
    report = AEAnomalyDetector(contamination=0.05, **SHORT).fit(rows).report(rows, n_rows=2)
    html = report.to_html()
    assert not report.blame.any()
    assert "score of 0 or more" in html
    assert 'class="most"' not in html
    assert "to blame</h2>" not in html
