"""From a fitted estimator to a model of ONNX."""

from collections.abc import Mapping, Sequence
from typing import Any

from skvae._export.estimators import check_exportable, outputs_of, schema_of
from skvae._export.graph import ELEMENTS, ML, Graph, Value
from skvae._export.tables import Port, cells_of, inputs_of, ports_of

OPSET, OPSET_ML, IR_VERSION = 18, 3, 8  # the oldest that have all operators, which all later runtimes read


def to_onnx(estimator: Any, method: str = "transform") -> Any:
    """Export a method of a fitted estimator as an ONNX model.

    The model computes what the method does, from the columns of the table to its result: text, dates and missing cells are
    read, numbers are brought to the scale of the networks and back. Any runtime of ONNX runs it, without Python.

    Parameters
    ----------
    estimator : AutoencoderTransformer, VAETransformer, AEAnomalyDetector or AutoencoderImputer
        A fitted one.
    method : str, default="transform"
        ``"transform"``, ``"reconstruct"`` or ``"score_samples"`` of the transformers; ``"score_samples"``,
        ``"decision_function"`` or ``"predict"`` of the detector; ``"transform"`` of the imputer.

    Returns
    -------
    model : onnx.ModelProto
        Of opset 18, for any number of rows. Fitted on an array, its input is ``"X"``, float64 of shape (n_rows,
        n_features_in_), NaN where a cell is missing. Fitted on a frame, it has an input of shape (n_rows, 1) for each column
        but ignored ones, under the column's name:

        * strings, and categories that are strings: text, ``""`` where the cell is missing. Where ``""`` is a level itself,
          ``"nan"``.
        * numbers, booleans, and categories that are numbers: float64, NaN where the cell is missing.
        * datetimes and durations: int64, ticks in the unit of the column, universal time, as ``numpy.datetime64`` has them; the
          least int64, which is numpy's NaT, where the cell is missing.

        The ``doc_string`` of an input says which of these it is. Outputs are ``"codes"`` of shape (n_rows, n_components_) and
        ``"scores"`` of shape (n_rows, 1), both in float64, ``"labels"``, int64 of shape (n_rows, 1), and a table as
        ``"reconstructed"`` or ``"imputed"``; of a frame one output for each column, such as ``"age_reconstructed"``, in the
        type of its input.

    Raises
    ------
    ImportError
        Where onnx is not installed.
    NotImplementedError
        Where a part of the model, or a column, has no ONNX operators.
    ValueError
        Where the method has no ONNX graph.

    Notes
    -----
    A detector knows the rows that it was fitted to, by a hash, and compares each of them with the others. The model does not:
    it scores every row as a new one. Nor does the model check its input, where the estimator refuses infinite numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import onnxruntime
    >>> from sklearn.datasets import load_iris
    >>> from skvae import AutoencoderTransformer, to_onnx
    >>> X = load_iris().data
    >>> estimator = AutoencoderTransformer(n_components=2, random_state=0).fit(X)
    >>> session = onnxruntime.InferenceSession(to_onnx(estimator).SerializeToString())
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
    """Say how to install onnx where it is missing."""
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise ImportError("The export needs the package onnx, which is not installed: pip install skvae[onnx]") from error


def model_of(graph: Graph, ports: Sequence[Port], outputs: Mapping[str, Value], name: str) -> Any:
    """A model of inputs and named outputs."""
    from onnx import helper, numpy_helper

    taken = {port.name for port in ports}
    results = []
    for output, value in outputs.items():
        while output in taken:  # a column of this name
            output += "_"
        graph.output(value, output)
        results.append(helper.make_tensor_value_info(output, ELEMENTS[value.dtype.name], ["rows", None]))
    inputs = [
        helper.make_tensor_value_info(port.name, ELEMENTS[port.dtype.name], ["rows", port.width], doc_string=port.note)
        for port in ports
    ]
    constants = [numpy_helper.from_array(array, constant) for constant, array in graph.constants.items()]
    nodes = [  # with names, by which runtimes tell them apart
        helper.make_node(node.op, node.inputs, node.outputs, node.outputs[0], domain=node.domain, **node.attributes)
        for node in graph.nodes
    ]
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, OPSET_ML)]
    made = helper.make_graph(nodes, name, inputs, results, constants)
    return helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION, producer_name="skvae")
