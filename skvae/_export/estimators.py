"""Graphs of the methods of each estimator, found by its type."""

from functools import singledispatch
from typing import Any

import numpy as np

from skvae._anomaly import AEAnomalyDetector
from skvae._base import BaseAutoencoder
from skvae._export import detector, fits
from skvae._export.graph import Value, where
from skvae._export.tables import Cells, completed, values_of
from skvae._imputer import AutoencoderImputer
from skvae._tables.schema import Schema
from skvae._validation import check_is_fitted

METHODS: dict[type, tuple[str, ...]] = {
    BaseAutoencoder: ("transform", "reconstruct", "score_samples"),
    AEAnomalyDetector: ("score_samples", "decision_function", "predict"),
    AutoencoderImputer: ("transform",),
}


def check_exportable(estimator: Any, method: str) -> None:
    """Refuse estimators and methods that cannot be exported.

    Raises
    ------
    TypeError
        If the estimator is not one of skvae.
    ValueError
        If the method has no graph, or if it raises errors, which a graph cannot do.
    """
    methods = next((some for kind, some in METHODS.items() if isinstance(estimator, kind)), None)
    name = type(estimator).__name__
    if methods is None:
        raise TypeError(
            f"estimator is a {name}, but to_onnx takes skvae estimators. To convert a Pipeline that contains one, call "
            "skvae.register_onnx_converters() and then skl2onnx.to_onnx."
        )
    check_is_fitted(estimator)
    if method not in methods:
        raise ValueError(f"method={method!r} of {name} cannot be exported; choose one of {', '.join(map(repr, methods))}.")
    if isinstance(estimator, AutoencoderImputer) and (estimator.sample_posterior or estimator.add_indicator):
        parameter = "sample_posterior" if estimator.sample_posterior else "add_indicator"
        raise NotImplementedError(f"{parameter}=True of {name} cannot be exported; set {parameter}=False and fit again.")
    if isinstance(estimator, AutoencoderImputer) and estimator._value_of_holes is not None:
        raise NotImplementedError(
            f"missing_values={estimator.missing_values!r} of {name} cannot be exported; replace it by NaN in the table, set "
            "missing_values=np.nan and fit again."
        )
    if estimator.handle_unknown == "error" and any(column.kind == "category" for column in schema_of(estimator).columns):
        raise ValueError(
            f"handle_unknown='error' of {name} cannot be exported, because a graph cannot raise errors. Call "
            "estimator.set_params(handle_unknown='ignore') to treat unknown categories as missing; no new fit is needed."
        )


@singledispatch
def schema_of(estimator: Any) -> Schema:
    """The schema of the table that an estimator was fitted on."""
    raise NotImplementedError


@schema_of.register
def _(estimator: BaseAutoencoder) -> Schema:
    return estimator.schema_


@schema_of.register
def _(estimator: AEAnomalyDetector) -> Schema:
    return estimator._schema


@schema_of.register
def _(estimator: AutoencoderImputer) -> Schema:
    return estimator.autoencoder_.schema_


@singledispatch
def outputs_of(estimator: Any, method: str, cells: Cells) -> dict[str, Value]:
    """The outputs of a method by name; a table is one output, or one per column of a frame."""
    raise NotImplementedError


@outputs_of.register
def _(estimator: BaseAutoencoder, method: str, cells: Cells) -> dict[str, Value]:
    fitted = estimator._fitted
    rows = fits.read(fitted, cells.values)
    if method == "transform":
        return {"codes": fits.codes(fitted, rows).astype(np.float64)}
    if method == "score_samples":
        return {"scores": fits.scores(fitted, rows, getattr(estimator, "n_importance_samples", 1))}
    return named(estimator.schema_, values_of(estimator.schema_, fits.reconstructed(fitted, rows)), "reconstructed")


@outputs_of.register
def _(estimator: AEAnomalyDetector, method: str, cells: Cells) -> dict[str, Value]:
    oddness, levels = estimator._oddness, estimator._levels
    rows = detector.widened(estimator._clocks, cells.values)
    rows = fits.without(rows, np.isnan(oddness.memory.squashing.median))
    scores = -detector.total(oddness, rows)
    if cells.unknown is not None:
        scores = scores - cells.unknown.astype(np.float64) @ levels.costs[:, None]
    if method == "score_samples":
        return {"scores": scores}
    decisions = scores - estimator.offset_
    if method == "decision_function":
        return {"scores": decisions}
    return {"labels": labels_of(decisions)}


@outputs_of.register
def _(estimator: AutoencoderImputer, method: str, cells: Cells) -> dict[str, Value]:
    models = [each._fitted for each in estimator.estimators_]
    first, (lowest, highest) = models[0], estimator._bounds
    bounded = first.is_number & ~estimator._is_empty
    filling = fits.expected_jointly(models, fits.read(first, cells.values))
    filling = filling.clip(np.where(bounded, lowest, -np.inf), np.where(bounded, highest, np.inf))
    if estimator._is_empty.any():
        filling = where(filling.graph.constant(estimator._is_empty), 0.0, filling)
    values = completed(first.schema, cells, filling)
    if first.schema.library == "numpy" and not estimator.keep_empty_features:
        values = [values[0].columns(np.flatnonzero(~estimator._is_empty))]
    return named(first.schema, values, "imputed")


def labels_of(decisions: Value) -> Value:
    """-1 for anomalies, 1 for all else."""
    return where(decisions < 0.0, decisions.graph.constant(-1), 1)


def named(schema: Schema, values: list[Value], suffix: str) -> dict[str, Value]:
    """The values of a table by the names of their outputs."""
    if schema.library == "numpy":
        return {suffix: values[0]}
    names = (str(column.name) for column in schema.columns if column.kind != "ignored")
    return {f"{name}_{suffix}": value for name, value in zip(names, values, strict=True)}
