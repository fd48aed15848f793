"""Convert fitted estimators to ONNX models."""

from collections.abc import Mapping, Sequence
from typing import Any

from skvae._export.estimators import check_exportable, outputs_of, schema_of
from skvae._export.graph import ELEMENTS, ML, Graph, Value
from skvae._export.tables import Port, cells_of, inputs_of, ports_of

OPSET, OPSET_ML, IR_VERSION = 18, 3, 8  # the oldest versions with all operators; later runtimes read them


def to_onnx(estimator: Any, method: str = "transform") -> Any:
    """Export a method of a fitted estimator as an ONNX model.

    The model computes the whole method, from the columns of the table to the result. It encodes text, dates and missing
    values, and scales numbers in both directions. It runs in any ONNX runtime, without Python.

    Parameters
    ----------
    estimator : AutoencoderTransformer, VAETransformer, AEAnomalyDetector or AutoencoderImputer
        A fitted estimator.
    method : str, default="transform"
        The method to export. Transformers: ``"transform"``, ``"reconstruct"`` or ``"score_samples"``. Detector:
        ``"score_samples"``, ``"decision_function"`` or ``"predict"``. Imputer: ``"transform"``.

    Returns
    -------
    model : onnx.ModelProto
        A model of opset 18 for any number of rows. If the estimator was fitted on an array, the input is ``"X"``, float64 of
        shape (n_rows, n_features_in_), with NaN for missing values. If it was fitted on a frame, each column that is not
        ignored is an input of shape (n_rows, 1) under its own name:

        * strings, and categories that are strings: text, with ``""`` for missing values. If ``""`` is itself a category,
          ``"nan"`` stands for missing values.
        * numbers, booleans, and categories that are numbers: float64, with NaN for missing values.
        * datetimes and durations: int64, ticks in the unit of the column and in universal time, as in ``numpy.datetime64``;
          the smallest int64, which is numpy's NaT, for missing values.

        The ``doc_string`` of each input says which of these applies. Outputs depend on the method:

        * ``"codes"``: float64 of shape (n_rows, n_components_).
        * ``"scores"``: float64 of shape (n_rows, 1).
        * ``"labels"``: int64 of shape (n_rows, 1).
        * ``"reconstructed"`` or ``"imputed"``: a table. For a frame, there is one output per column, such as
          ``"age_reconstructed"``, of the type of the input.

    Raises
    ------
    ImportError
        If onnx is not installed.
    NotImplementedError
        If a part of the model, or a column, has no ONNX operators.
    ValueError
        If the method has no ONNX graph.

    Notes
    -----
    A detector recognises its training rows by a hash and compares each of them with the others. The exported model does not:
    it scores every row as new. It does not check its input either, whereas the estimator refuses infinite numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import onnxruntime
    >>> from sklearn.datasets import load_iris
    >>> from skvae import AutoencoderTransformer, to_onnx
    >>> X = load_iris().data
    >>> estimator = AutoencoderTransformer(2, random_state=0).fit(X)
    >>> model = to_onnx(estimator).SerializeToString()
    >>> session = onnxruntime.InferenceSession(model)
    >>> (codes,) = session.run(["codes"], {"X": X})
    >>> bool(np.allclose(codes, estimator.transform(X), atol=1e-4))
    True
    """
    check_onnx()
    check_exportable(estimator, method)
    graph, schema = Graph(), schema_of(estimator)
    ports = ports_of(schema, estimator.n_features_in_)
    values = [graph.input(port.name, port.dtype) for port in ports]
    outputs = outputs_of(estimator, method, cells_of(schema, inputs_of(schema, values)))
    return model_of(graph, ports, outputs, f"{type(estimator).__name__}.{method}")


def check_onnx() -> None:
    """Check that onnx is installed."""
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise ImportError("Export needs onnx, which is not installed; run `pip install skvae[onnx]`.") from error


def model_of(graph: Graph, ports: Sequence[Port], outputs: Mapping[str, Value], name: str) -> Any:
    """An ONNX model from a graph, its inputs and its named outputs."""
    from onnx import helper, numpy_helper

    taken = {port.name for port in ports}
    results = []
    for output, value in outputs.items():
        while output in taken:  # a column has this name
            output += "_"
        graph.output(value, output)
        results.append(helper.make_tensor_value_info(output, ELEMENTS[value.dtype.name], ["rows", None]))
    inputs = [
        helper.make_tensor_value_info(port.name, ELEMENTS[port.dtype.name], ["rows", port.width], doc_string=port.note)
        for port in ports
    ]
    constants = [numpy_helper.from_array(array, constant) for constant, array in graph.constants.items()]
    nodes = [  # runtimes tell nodes apart by name
        helper.make_node(node.op, node.inputs, node.outputs, node.outputs[0], domain=node.domain, **node.attributes)
        for node in graph.nodes
    ]
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, OPSET_ML)]
    made = helper.make_graph(nodes, name, inputs, results, constants)
    return helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION, producer_name="skvae")
