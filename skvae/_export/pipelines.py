"""Conversion of pipelines that contain skvae estimators, by skl2onnx."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from skvae._anomaly import AEAnomalyDetector
from skvae._autoencoder import AutoencoderTransformer
from skvae._export.estimators import check_exportable, labels_of, outputs_of, schema_of
from skvae._export.graph import ML, Graph, Value
from skvae._export.onnx_models import OPSET, OPSET_ML, check_onnx
from skvae._export.tables import cells_of
from skvae._vae import VAETransformer

DTYPES = {
    "FloatTensorType": np.float32,
    "DoubleTensorType": np.float64,
    "Int64TensorType": np.int64,
    "BooleanTensorType": np.bool_,
    "StringTensorType": np.object_,
}


def register_onnx_converters() -> None:
    """Register the estimators of skvae with skl2onnx, so that it can convert pipelines that contain them.

    Call this once per process; further calls have no effect. Afterwards ``skl2onnx.to_onnx`` accepts an
    ``AutoencoderTransformer``, a ``VAETransformer`` or an ``AEAnomalyDetector``, alone or in a Pipeline or ColumnTransformer.

    * Transformers output codes. They are called ``variable`` if the transformer is the last step, and are float32 if all
      inputs are, else float64.
    * The detector outputs ``label`` and ``scores``, the results of ``predict`` and ``decision_function``, like skl2onnx's
      converter of IsolationForest.

    Raises
    ------
    ImportError
        If onnx or skl2onnx is not installed.

    See Also
    --------
    to_onnx : Export any method of a single estimator.

    Notes
    -----
    The target opset must be 18 or later. Inputs encode columns as described in ``to_onnx``.

    Examples
    --------
    >>> import numpy as np
    >>> import skl2onnx
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skvae import AutoencoderTransformer, register_onnx_converters
    >>> X, y = load_iris(return_X_y=True)
    >>> transformer = AutoencoderTransformer(random_state=0)
    >>> pipeline = make_pipeline(transformer, LogisticRegression())
    >>> register_onnx_converters()
    >>> model = skl2onnx.to_onnx(pipeline.fit(X, y), X[:1])
    >>> [output.name for output in model.graph.output]
    ['output_label', 'output_probability']
    """
    check_onnx()
    try:
        from skl2onnx import update_registered_converter
    except ImportError as error:
        raise ImportError("Pipelines need skl2onnx, which is not installed; run `pip install skvae[onnx]`.") from error
    for kind in (AutoencoderTransformer, VAETransformer):
        update_registered_converter(kind, f"Skvae{kind.__name__}", _shape_of_codes, _convert_transformer)
    update_registered_converter(AEAnomalyDetector, "SkvaeAEAnomalyDetector", _shapes_of_detector, _convert_detector)


def _shape_of_codes(operator: Any) -> None:
    (codes,) = operator.outputs
    codes.type = _floating(operator)([operator.inputs[0].get_first_dimension(), operator.raw_operator.n_components_])


def _shapes_of_detector(operator: Any) -> None:
    from skl2onnx.common.data_types import Int64TensorType

    label, scores = operator.outputs
    n_rows = operator.inputs[0].get_first_dimension()
    label.type, scores.type = Int64TensorType([n_rows, 1]), _floating(operator)([n_rows, 1])


def _floating(operator: Any) -> Any:
    """The type of floating outputs: single precision if all inputs have it, else double."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    return FloatTensorType if all(_dtype(some) == np.float32 for some in operator.inputs) else DoubleTensorType


def _dtype(variable: Any) -> Any:
    name = type(variable.type).__name__
    if name not in DTYPES:
        raise NotImplementedError(f"Input {variable.raw_name!r} is a {name}; use one of {', '.join(DTYPES)}.")
    return DTYPES[name]


def _convert_transformer(scope: Any, operator: Any, container: Any) -> None:
    _convert(scope, operator, container, "transform")


def _convert_detector(scope: Any, operator: Any, container: Any) -> None:
    _convert(scope, operator, container, "decision_function")


def _convert(scope: Any, operator: Any, container: Any, method: str) -> None:
    """Add the nodes of a method. Its result is the last output; a detector outputs labels before it."""
    estimator = operator.raw_operator
    check_exportable(estimator, method)
    graph, schema = Graph(scope.get_unique_variable_name("skvae") + "/"), schema_of(estimator)
    inputs = [graph.input(some.onnx_name, _dtype(some)) for some in operator.inputs]
    columns = _split(inputs, operator.inputs) if schema.columns else inputs
    (result,) = outputs_of(estimator, method, cells_of(schema, columns)).values()
    *labels, scores = operator.outputs
    for label in labels:
        graph.output(labels_of(result), label.full_name)
    graph.output(result.astype(_dtype(scores)), scores.full_name)
    _add(graph, container)


def _split(values: Sequence[Value], variables: Sequence[Any]) -> list[Value]:
    """One value for each column of all inputs."""
    widths = [variable.type.shape[1] for variable in variables]
    return [
        value if width == 1 else value.columns([i]) for value, width in zip(values, widths, strict=True) for i in range(width)
    ]


def _add(graph: Graph, container: Any) -> None:
    from onnx import numpy_helper

    container.initializers.extend(numpy_helper.from_array(array, name) for name, array in graph.constants.items())
    for node in graph.nodes:
        version, (name, *_) = OPSET_ML if node.domain == ML else OPSET, node.outputs
        names = {"inputs": list(node.inputs), "outputs": list(node.outputs), "name": name}
        container.add_node(node.op, op_domain=node.domain, op_version=version, **names, **node.attributes)
