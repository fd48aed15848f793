"""Charts of a report: SVG and HTML without scripts, readable at any width."""

from collections.abc import Callable
from typing import Any

import numpy as np

from skvae._html.elements import Element, element, joined

BINS = 48
LEAST_HEIGHT = 3.0  # per cent, so that a bar of a single row is seen
TICK_ROOM = 0.1  # share of an axis that the label of a tick takes
MOST_POINTS = 2000
N_NAMED = 5  # points of the plane with their labels beside them
WIDTH, HEIGHT, MARGIN = 480, 340, 14
KNEE = 3.0  # standard deviations up to which an axis of the plane is linear


class Axis:
    """Places of scores on an axis from 0 to 1, which is linear near zero and logarithmic beyond.

    Parameters
    ----------
    values : ndarray
        What has to lie on the axis. The median of their sizes is where its linear part ends.
    """

    def __init__(self, values: np.ndarray) -> None:
        self.unit = float(np.median(np.abs(values))) or 1.0
        low, high = np.arcsinh(np.array([values.min(), values.max()]) / self.unit)
        self.low, self.high = float(low), float(max(high, low + 0.1))

    def place(self, values: Any) -> Any:
        """Where values lie."""
        return (np.arcsinh(np.asarray(values) / self.unit) - self.low) / (self.high - self.low)

    def edges(self, n_bins: int) -> np.ndarray:
        """Values at equal distances, of which the outermost are the ends of the axis."""
        return self.unit * np.sinh(np.linspace(self.low, self.high, n_bins + 1))

    def ticks(self) -> list[float]:
        """Round numbers with room for a label each."""
        decades = 10.0 ** np.arange(-3, 16)
        candidates = [0.0, *(sign * factor * decade for factor in (1, 5, 2) for decade in decades for sign in (1, -1))]
        chosen: list[float] = []
        for value in candidates:
            place = self.place(value)
            if 0 <= place <= 1 and all(abs(place - self.place(other)) >= TICK_ROOM for other in chosen):
                chosen.append(value)
        return sorted(chosen)


def histogram(scores: np.ndarray, threshold: float | None) -> Element:
    """How many rows have which score, in bars of logarithmic height; those from the threshold on are marked."""
    axis = Axis(scores if threshold is None else np.append(scores, threshold))
    edges = axis.edges(BINS)
    edges[[0, -1]] = min(edges[0], scores.min()), max(edges[-1], scores.max())  # which rounding may have moved inside
    if threshold is not None:
        edges = np.unique(np.append(edges, threshold))
    counts, _ = np.histogram(scores, edges)
    heights = np.where(counts > 0, np.maximum(LEAST_HEIGHT, 100 * np.log1p(counts) / np.log1p(counts.max())), 0)
    places = 100 * axis.place(edges)
    bars = joined(
        element(
            "rect",
            x=f"{left:.2f}",
            y=f"{100 - height:.2f}",
            width=f"{right - left:.2f}",
            height=f"{height:.2f}",
            class_="odd" if threshold is not None and low >= threshold else None,
        )
        for left, right, height, low in zip(places[:-1], places[1:], heights, edges[:-1], strict=True)
        if height
    )
    drawing = element("svg", bars, viewBox="0 0 100 100", preserveAspectRatio="none", aria_hidden="true")
    marks = [_at(axis.place(value), f"{value:g}") for value in axis.ticks()]
    line = [] if threshold is None else [element("div", _threshold(axis.place(threshold), threshold), class_="line")]
    return element("div", *line, drawing, element("div", *marks, class_="ticks"), class_="histogram")


def _at(place: float, text: str, **attributes: Any) -> Element:
    return element("span", text, style=f"left:{100 * place:.2f}%", **attributes)


def _threshold(place: float, threshold: float) -> Element:
    """A line with its label on the side where there is room."""
    return _at(place, f"threshold {number(threshold)}", class_="left" if place > 0.5 else None)


def plane(codes: np.ndarray, flagged: np.ndarray, scores: np.ndarray, label: Callable[[int], str]) -> Element:
    """Codes along two principal axes: circles, and triangles for flagged rows. The most anomalous rows are labelled."""
    shown = some_of(scores)
    places = _on_plane(codes, ~flagged)
    points = [_point(places[i], bool(flagged[i]), f"{label(i)}: score {number(scores[i])}") for i in shown[::-1]]
    names = [_name(places[i], label(i)) for i in shown[:N_NAMED]]
    return element("svg", *points, *names, viewBox=f"0 0 {WIDTH} {HEIGHT}", class_="plane", role="img")


def some_of(scores: np.ndarray) -> np.ndarray:
    """Rows to draw, the most anomalous first: all of a small table, else a thousand of these and some of the others."""
    order, half = np.argsort(-scores, kind="stable"), MOST_POINTS // 2
    if len(order) <= MOST_POINTS:
        return order
    return np.append(order[:half], order[half :: -(-(len(order) - half) // half)])


def _on_plane(codes: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Places of codes in the drawing, along the two axes on which usual rows vary most."""
    usual = usual if usual.sum() > 2 else np.ones(len(codes), dtype=bool)
    centred = codes - codes[usual].mean(axis=0)
    axes = np.linalg.svd(centred[usual], full_matrices=False)[2][:2]
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    along = np.zeros((len(codes), 2))
    along[:, : len(axes)] = centred @ axes.T
    deviations = along[usual].std(axis=0)
    along = KNEE * np.arcsinh(along / np.where(deviations > 0, deviations, 1.0) / KNEE)
    low, high = along.min(axis=0), along.max(axis=0)
    share = (along - low) / np.where(high > low, high - low, 1.0)
    return MARGIN + share * (np.array([WIDTH, HEIGHT]) - 2 * MARGIN)


def _point(place: np.ndarray, is_flagged: bool, title: str) -> Element:
    x, y = place
    mark = element("title", title)
    if is_flagged:
        return element("path", mark, class_="odd", d=f"M{x:.1f} {y - 5:.1f}l5 9h-10z")
    return element("circle", mark, cx=f"{x:.1f}", cy=f"{y:.1f}", r=2.5)


def _name(place: np.ndarray, label: str) -> Element:
    x, y = place
    is_right = x > WIDTH / 2
    end = "end" if is_right else None
    return element("text", label, x=f"{x - 9 if is_right else x + 9:.1f}", y=f"{y + 5:.1f}", text_anchor=end)


def bar(share: float) -> Element:
    """A bar as long as a share of its place."""
    return element("span", element("span", style=f"width:{100 * share:.1f}%"), class_="bar", aria_hidden="true")


def number(value: float) -> str:
    """A score in a few digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value + 0.0:.3g}"  # minus zero is zero
