import numpy as np
import pytest
import torch

from skvae.core import inference
from skvae.core import model as model_module
from skvae.core.bottlenecks import GaussianPosterior
from skvae.core.inference import CHUNK_ROWS, apply, mean_squared_error
from skvae.core.inputs import Inputs
from skvae.core.likelihoods import Bernoulli, Gaussian
from skvae.core.networks import ACTIVATIONS

CPU = torch.device("cpu")
FUNCTIONS = [
    lambda model, x: model.encode(x),
    lambda model, x: model.decode(model.encode(x)),
    lambda model, x: model.log_prob(x).sum(1),
]
NETS = {"linear": (), "narrow": (3,), "wide": (100,), "deep": (33, 17, 9)}
PLACES = [0, 1, 13, 63, 64, 77, 5000, 9983, 9984, 9999]  # in the first chunk, in the middle, in the remainder


def many(n_columns, dtype, generator, n_rows=10_000):
    return torch.randn(n_rows, n_columns, generator=generator, dtype=dtype)


def assert_same_alone(function, rows):
    together = apply(function, rows, CPU)
    for place in PLACES:
        assert torch.equal(apply(function, rows[place : place + 1], CPU)[0], together[place])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("hidden", NETS.values(), ids=NETS)
def test_a_row_gives_the_same_bits_alone_and_among_many(hidden, dtype, autoencoder, generator):
    model = autoencoder(n_columns=19, n_components=7, hidden=hidden, dtype=dtype).eval()
    for function in FUNCTIONS:
        assert_same_alone(lambda x, function=function: function(model, x), many(19, dtype, generator))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_so_it_does_with_every_activation(activation, autoencoder, generator):
    model = autoencoder(activation=activation, likelihood=Bernoulli, hidden=(21,)).eval()
    assert_same_alone(lambda x: model.log_prob(x).sum(1), many(5, torch.float32, generator))


VARIATIONAL = {
    "posterior": lambda model, x, noise: torch.cat(model.posterior(x), 1),
    "divergence": lambda model, x, noise: model.divergence(x),
    "weights": lambda model, x, noise: model.log_weights(x, noise),
}


@pytest.mark.parametrize("function", VARIATIONAL.values(), ids=VARIATIONAL)
@pytest.mark.parametrize(("n_components", "decoded_cells"), [(1, 5000), (3, 1), (3, 1 << 20)])
def test_so_it_does_with_a_posterior(function, n_components, decoded_cells, autoencoder, generator, monkeypatch):
    monkeypatch.setattr(model_module, "DECODED_CELLS", decoded_cells)
    model = autoencoder(n_columns=19, n_components=n_components, bottleneck=GaussianPosterior()).eval()
    noise = torch.randn(9, n_components, generator=generator)
    assert_same_alone(lambda x: function(model, x, noise), many(19, torch.float32, generator))


@pytest.mark.parametrize("n_columns", [1, 2, 3, 64, 300])
def test_so_it_does_with_any_number_of_columns(n_columns, autoencoder, generator):
    model = autoencoder(n_columns=n_columns, n_components=1).eval()
    assert_same_alone(lambda x: model.log_prob(x).sum(1), many(n_columns, torch.float32, generator))


@pytest.mark.parametrize("n_rows", [0, 1, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, 5 * CHUNK_ROWS, 5 * CHUNK_ROWS + 7])
def test_every_row_is_applied_once_and_in_order(n_rows, generator):
    rows = many(3, torch.float64, generator, n_rows)
    assert torch.equal(apply(lambda x: 2 * x[:, :2], rows, CPU), 2 * rows[:, :2])


def test_all_chunks_have_one_shape_and_zeros_fill_the_last(generator):
    chunks = []
    apply(lambda x: chunks.append(x.clone()) or x, many(3, torch.float32, generator, 2 * CHUNK_ROWS + 5), CPU)
    assert [chunk.shape for chunk in chunks] == [(CHUNK_ROWS, 3)] * 3
    assert (chunks[-1][:5] != 0).all()
    assert (chunks[-1][5:] == 0).all()


@pytest.mark.parametrize("function", [lambda x: x, lambda x: x[:, 1:], lambda x: x.mul_(2)], ids=["itself", "view", "in place"])
def test_the_function_may_do_as_it_likes_with_its_rows(function, generator):
    rows = many(3, torch.float32, generator, 2 * CHUNK_ROWS + 5)
    before = rows.clone()
    assert torch.equal(apply(function, rows, CPU), function(before.clone()))
    assert torch.equal(rows, before)


def test_the_result_needs_no_gradient(autoencoder, rows):
    assert not apply(autoencoder().encode, rows, CPU).requires_grad


@pytest.mark.parametrize(("n_columns", "n_factors"), [(2, 0), (5, 1), (19, 3), (19, 1)])
@pytest.mark.parametrize("marked", [False, True])
def test_so_it_does_with_missing_cells(marked, n_factors, n_columns, autoencoder, generator):
    inputs = Inputs.of_numbers(n_columns, n_factors, marked)
    noise = 0.1 + torch.rand(n_columns, generator=generator)
    inputs.start_(torch.randn(n_columns, generator=generator), torch.randn(n_columns, n_factors, generator=generator), noise)
    model = autoencoder(n_columns=n_columns, n_components=1, inputs=inputs).eval()
    rows = many(n_columns, torch.float32, generator)
    rows[torch.rand(rows.shape, generator=generator) < 0.3] = torch.nan
    assert_same_alone(lambda x: torch.cat([model.encode(x), model.log_prob(x)], 1), rows)


@pytest.mark.parametrize(
    ("likelihood", "weighted", "missing", "chunk_rows"),
    [(Gaussian, False, 0.0, 8192), (Gaussian, True, 0.3, 7), (Bernoulli, True, 0.0, 7), (Bernoulli, False, 0.3, 8192)],
)
def test_mean_squared_errors_are_numpys(chunk_rows, missing, weighted, likelihood, autoencoder, rows, generator, monkeypatch):
    monkeypatch.setattr(inference, "DEVICE_CHUNK_ROWS", chunk_rows)
    model = autoencoder(likelihood=likelihood).eval()
    weights = torch.rand(len(rows), generator=generator) if weighted else None
    seen = rows + 0.1
    rows[torch.rand(rows.shape, generator=generator) < missing] = torch.nan
    if missing:
        rows[:, 3] = torch.nan
    squares = (model.reconstruct(seen) - rows).square().detach().double().numpy()
    counts = ~rows.isnan().numpy() * (np.ones(len(rows)) if weights is None else weights.double().numpy())[:, None]
    errors, total = mean_squared_error(model, seen, rows, weights)
    assert errors.dtype == total.dtype == torch.float64
    np.testing.assert_allclose(total, counts.sum(0), rtol=1e-12)
    for column in range(5):
        expected = np.average(np.nan_to_num(squares[:, column]), weights=counts[:, column]) if total[column] else 0.0
        assert errors[column].item() == pytest.approx(expected, rel=1e-5)
