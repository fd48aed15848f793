"""A replay is the computation itself, run again: everything here is compared bit for bit."""

import gc
import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import pytest
import torch
from torch.nn import functional

from skvae.core.bottlenecks import Dense, GaussianPosterior
from skvae.core.graphs import Recording
from skvae.core.likelihoods import Bernoulli, Gaussian, UnitGaussian
from skvae.core.members import ALIGNMENT
from skvae.core.networks import ACTIVATIONS
from skvae.core.objective import Objective


def grad(loss, *parameters):
    return [loss, *torch.autograd.grad(loss, parameters)]


def outputs_for(results, flat):
    """Tensors of their own, or slices of one vector, each on a cache line of its own: products round as their memory lies."""
    sizes = [math.ceil(r.numel() / ALIGNMENT) * ALIGNMENT for r in results]
    parts = (
        torch.zeros(sum(sizes), dtype=results[0].dtype).split(sizes)
        if flat
        else [torch.zeros(n, dtype=results[0].dtype) for n in sizes]
    )
    return [part[: r.numel()].view(r.shape) for part, r in zip(parts, results, strict=True)]


def assert_replays(function, inputs, flat=False, same=None, n_replays=3):
    """Replays of ``function`` give what ``same``, by default itself, gives when it is called on the same inputs."""
    same = same or function
    outputs = outputs_for(same(), flat)
    recording = Recording(function, outputs)
    generator = torch.Generator().manual_seed(1)
    for _ in range(n_replays):
        with torch.no_grad():
            for x in inputs:
                x.normal_(generator=generator)
        recording.replay()
        for output, expected in zip(outputs, same(), strict=True):
            assert torch.equal(output, expected.detach())


class Inputs:
    """What the programs below read: a matrix, and parameters of all shapes."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        shapes = {
            "x": (6, 4),
            "square": (4, 4),
            "w": (5, 4),
            "b": (5,),
            "c": (5,),
            "one": (1,),
            "scalar": (),
            "cube": (4, 2, 3),
        }
        self.tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        for name in ("w", "b", "c", "one", "scalar", "cube"):
            self.tensors[name].requires_grad_()

    def __getattr__(self, name):
        return self.tensors[name]


class PassesItsInputOn(torch.autograd.Function):
    """The sum of a product, whose gradient is handed out without a copy."""

    @staticmethod
    def forward(ctx, parameter, x):
        ctx.save_for_backward(x)
        return (parameter * x).sum()

    @staticmethod
    def backward(ctx, gradient):
        return ctx.saved_tensors[0], None


def accumulated(i):
    total = torch.zeros_like(i.x)
    total.add_(i.x)
    total[:, 0].mul_(3)
    total[1:3] += i.x[1:3]
    return [total, total.sum()]


def constant_read_before_it_changes(i):
    total = torch.zeros(6, 4)
    shifted = total + 1
    total.add_(i.x)
    return [total, shifted * i.x]


def changed_after_it_was_read(i):
    y = i.x * 1
    z = y * 2
    y.mul_(3)
    return [y, z]


def assigned(i):
    z = i.x.clone()
    z[0] = 0
    z[:, 1] = i.x[:, 2]
    z[torch.tensor([1, 2]), torch.tensor([0, 3])] = 7.0
    return [z]


def empty_and_out(i):
    y = torch.empty(6, 4)
    torch.mul(i.x, 3, out=y)
    return [y, y.sum()]


def top_two(i):
    values, index = (i.x @ i.w.T).topk(2, dim=1)
    kept = torch.zeros(6, 5).scatter(1, index, values)
    return [kept, *grad(values.exp().sum(), i.w)]


def largest(i):
    values, index = (i.x @ i.w.T).max(1)
    return [index.float(), *grad(values.exp().sum(), i.w)]


def split_and_joined(i):
    mean, log_variance = (i.x @ i.w[:4].T).chunk(2, dim=1)
    return grad(0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(), i.w)


def jacobian_norm(i):
    x = i.x.detach().requires_grad_()
    (jacobian,) = torch.autograd.grad(torch.tanh(x @ i.w.T).sum(), x, create_graph=True)
    return grad(jacobian.square().sum(), i.w)


def jacobian_of_each_row(i):
    jacobian = torch.func.vmap(torch.func.jacrev(lambda row: torch.tanh(i.w @ row)))(i.x)
    return grad(jacobian.square().sum(), i.w)


def normalised(i):
    h = functional.layer_norm(i.x @ i.w.T, (5,), i.b, i.c)
    h = functional.batch_norm(h, None, None, i.b, i.c, training=True)
    return grad(h.exp().sum(), i.w, i.b, i.c)


def decomposed(i):
    definite = i.square @ i.square.T + torch.eye(4)
    return [torch.linalg.inv(definite), torch.logdet(definite), torch.linalg.solve(definite, i.x.T).contiguous()]


def one_of_two(i):
    y = i.x * 2
    return [y, y]


def parts_of_one(i):
    y = i.x * 2
    return [y, y[:3], y[1]]


def constant_also_read(i):
    threes = torch.full_like(i.x, 3.0)
    return [i.x * threes, threes]


def complex_view(i):
    y = i.x * 2
    return [y, torch.view_as_complex(y.view(6, 2, 2)).abs()]


PROGRAMS = {
    # gradients that lie in memory in some special way
    "gradient expanded from a sum": lambda i: grad((i.x.sum() * i.b).sum() + i.b.sum(), i.b),
    "gradient of a bias in a sum": lambda i: grad((i.b + i.x[:5, 0]).sum(), i.b),
    "gradient of a bias of one element": lambda i: grad((i.one + i.x).mean(), i.one),
    "gradient that is a constant": lambda i: grad(i.scalar + i.x.sum(), i.scalar),
    "gradient shared by two parameters": lambda i: grad(((i.b + i.c) * i.x[:5, 0]).square().sum(), i.b, i.c),
    "gradient and its negative": lambda i: grad((i.b - i.c).exp().sum(), i.b, i.c),
    "gradient of a transposed weight": lambda i: grad((i.x @ i.w.T).tanh().sum(), i.w),
    "gradient of a weight used both ways": lambda i: grad(((i.x @ i.w.T).tanh() @ i.w - i.x).square().sum(), i.w),
    "gradient in another order of axes": lambda i: grad(
        torch.bmm(i.x.expand(2, 6, 4), i.cube.permute(1, 0, 2)).sin().sum(), i.cube
    ),
    "gradient that is an input": lambda i: grad(PassesItsInputOn.apply(i.w, i.x.view(-1)[:20].view(5, 4)), i.w),
    "gradients that are slices": lambda i: grad(torch.cat([i.b, i.c, i.one]).exp().sum(), i.b, i.c, i.one),
    "gradients that are strided": lambda i: grad(torch.stack([i.b, i.c], 1).exp().sum(), i.b, i.c),
    "gradient summed over many uses": lambda i: grad(sum((i.b * k).sin().sum() for k in range(5)), i.b),
    # results that lie in memory in some special way
    "input": lambda i: [i.x.exp(), i.x],
    "input that is also read through a view": lambda i: [(i.square.T * 2).sum(), i.square],
    "view of an input": lambda i: [i.x.exp(), i.x.view(-1)],
    "constant": lambda i: [i.x.sum(), torch.ones_like(i.x)],
    "constant that is also read": constant_also_read,
    "same result twice": one_of_two,
    "result and parts of it": parts_of_one,
    "transposed view": lambda i: [(i.x * 2).T],
    "kernel that keeps its input's strides": lambda i: [i.x.T * 2],
    "kernel that chooses strides": lambda i: [torch.linalg.cholesky(i.square @ i.square.T + torch.eye(4))],
    "expanded view": lambda i: [i.x.sum().expand(3), (i.x[0] * 2).as_strided((4,), (0,))],
    "strided and offset views": lambda i: [(i.x * 2)[1:, ::2], (i.x + 1).as_strided((3, 2), (4, 2), 1)],
    "view of another type": complex_view,
    # kernels
    "accumulated in place": accumulated,
    "constant read before it changes": constant_read_before_it_changes,
    "changed after it was read": changed_after_it_was_read,
    "assigned by index": assigned,
    "written by the out argument": empty_and_out,
    "constants": lambda i: [i.x * torch.arange(4.0).pow(2) + torch.eye(4).sum(0) + torch.tensor([1.0, 2, 3, 4])],
    "no out variant": lambda i: [
        i.x.roll(1),
        torch.fft.rfft(i.x).abs(),
        functional.pad(i.x, (1, 1)),
        i.x.double().sum().float(),
    ],
    "several results": lambda i: [*i.x.sort(1)[:1], *torch.var_mean(i.x, 1), *torch.aminmax(i.x), i.x.median(1).values],
    "integers and masks": lambda i: [i.x.argmax(1).float(), (i.x > 0).sum().float(), torch.where(i.x > 0, i.x, 0.0)],
    "nothing": lambda i: [i.x.sum() + i.x[:0].sum(), torch.cat([i.x[:0], i.x])],
    "softmax": lambda i: grad(
        (torch.logsumexp(i.w, 1) - torch.log_softmax(i.w, 1)[:, 0] + torch.softmax(i.w, 0)[:, 0]).sum(), i.w
    ),
    "top-k": top_two,
    "maximum": largest,
    "mean and log-variance": split_and_joined,
    "norm of the Jacobian": jacobian_norm,
    "Jacobian of each row": jacobian_of_each_row,
    "normalisation": normalised,
    "decompositions": decomposed,
}


@pytest.mark.parametrize("flat", [False, True], ids=["apart", "flat"])
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_replay_is_the_computation(program, flat):
    inputs = Inputs()
    assert_replays(lambda: program(inputs), inputs.tensors.values(), flat)


NOISE = {
    "randn": lambda x, g: torch.randn(6, 4, generator=g),
    "rand": lambda x, g: x * torch.rand(6, 4, generator=g),
    "normal_": lambda x, g: x + torch.empty_like(x).normal_(generator=g),
    "normal_ on zeros": lambda x, g: torch.zeros(6, 4).normal_(generator=g),
    "normal of constants": lambda x, g: torch.normal(torch.zeros(6), torch.ones(6), generator=g),
    "normal of tensors": lambda x, g: torch.normal(x, x.exp(), generator=g),
    "uniform_": lambda x, g: torch.empty(6, 4).uniform_(generator=g),
    "exponential_": lambda x, g: torch.empty(6, 4).exponential_(generator=g),
    "bernoulli": lambda x, g: torch.bernoulli(torch.full((200,), 0.5), generator=g),
    "bernoulli_": lambda x, g: torch.empty(200).bernoulli_(0.3, generator=g),
    "masking": lambda x, g: x * (torch.rand(x.shape, generator=g) < 0.5),
    "swapping": lambda x, g: x.gather(0, torch.randint(len(x), x.shape, generator=g)),
    "randperm": lambda x, g: torch.randperm(200, generator=g).float(),
    "multinomial": lambda x, g: torch.multinomial(torch.ones(200), 100, generator=g).float(),
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
def test_every_replay_draws_fresh_numbers_in_step_with_the_computation(noise):
    x = torch.ones(6, 4)
    recorded, eager = (torch.Generator().manual_seed(0) for _ in range(2))
    seen = []

    def same():
        seen.append(noise(x, eager))
        return seen[-1:]

    assert_replays(lambda: [noise(x, recorded)], [x], same=same)
    assert not any(torch.equal(a, b) for a, b in itertools.pairwise(seen))


LIKELIHOODS = {"gaussian": Gaussian, "unit_gaussian": UnitGaussian, "bernoulli": Bernoulli}
NETS = {"linear": (), "one layer": (8,), "two layers": (8, 3)}


def step(model, x, weight, beta=1.0, generator=None):
    parameters = [p for p in model.parameters() if p.requires_grad]
    return lambda: grad(Objective().loss(model, x, weight, beta, generator), *parameters)


@pytest.mark.parametrize(
    ("activation", "likelihood", "n_rows", "weighted"),
    [
        *((activation, Gaussian, 33, False) for activation in ACTIVATIONS),
        *(("tanh", likelihood, n_rows, True) for likelihood in LIKELIHOODS.values() for n_rows in (1, 33)),
    ],
)
def test_replay_is_the_training_step(activation, likelihood, n_rows, weighted, autoencoder):
    model = autoencoder(activation=activation, likelihood=likelihood)
    x, weight = torch.zeros(n_rows, 5), torch.ones(n_rows) if weighted else None
    assert_replays(step(model, x, weight), [*model.parameters(), x, *([weight] if weighted else [])], flat=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("linear_path", [False, True], ids=["plain", "linear path"])
@pytest.mark.parametrize("hidden", NETS.values(), ids=NETS)
def test_replay_is_the_training_step_of_every_net(hidden, linear_path, dtype, autoencoder):
    model = autoencoder(hidden=hidden, linear_path=linear_path, dtype=dtype)
    x = torch.zeros(16, 5, dtype=dtype)
    assert_replays(step(model, x, None), [*model.parameters(), x])


LEARNED = {
    "gaussian": lambda d: Gaussian(d, learned=True),
    "gaussian_diag": lambda d: Gaussian(d, floor=torch.full((d,), 1e-6), learned=True),
    "unit_gaussian": UnitGaussian,
    "bernoulli": Bernoulli,
}


@pytest.mark.parametrize("likelihood", LEARNED.values(), ids=LEARNED)
@pytest.mark.parametrize(("hidden", "weighted"), [((), True), ((8, 3), False)], ids=["linear", "two layers"])
def test_replay_is_the_training_step_of_a_model_with_a_posterior(hidden, likelihood, weighted, autoencoder):
    model = autoencoder(hidden=hidden, likelihood=likelihood, bottleneck=GaussianPosterior(), in_units=True)
    x, beta, weight = torch.zeros(16, 5), torch.ones(()), torch.ones(16) if weighted else None
    recorded, eager = (step(model, x, weight, beta, torch.Generator().manual_seed(0)) for _ in range(2))
    inputs = [*model.parameters(), x, beta, *([weight] if weighted else [])]
    assert_replays(recorded, inputs, flat=True, same=eager)


def descend(model, rows, n_steps, record):
    """The losses of gradient descent on random batches, recorded or not."""
    x = rows[:16].clone()
    parameters = [p for p in model.parameters() if p.requires_grad]
    generator = torch.Generator().manual_seed(0)
    noise = torch.Generator().manual_seed(1)
    function = step(model, x, None, generator=noise)
    results = function()
    if record:
        results = outputs_for(results, flat=True)
        recording = Recording(function, results)
    noise.manual_seed(1)
    losses = []
    for _ in range(n_steps):
        x.copy_(rows[torch.randperm(len(rows), generator=generator)[:16]])
        if record:
            recording.replay()
        else:
            results = function()
        with torch.no_grad():
            torch._foreach_add_(parameters, results[1:], alpha=-0.01)
        losses.append(results[0].item())
    return losses


@pytest.mark.parametrize("bottleneck", [Dense(), GaussianPosterior()])
def test_hundreds_of_replays_train_as_the_computation_does(bottleneck, autoencoder, rows):
    recorded, eager = (autoencoder(bottleneck=bottleneck) for _ in range(2))
    losses = descend(recorded, rows, 300, record=True)
    assert losses == descend(eager, rows, 300, record=False)
    assert losses[-1] < losses[0]
    assert all(torch.equal(a, b) for a, b in zip(recorded.parameters(), eager.parameters(), strict=True))


def test_recordings_in_several_threads_do_not_meet(autoencoder, rows):
    jobs = [(autoencoder(hidden=hidden), rows, 100, True) for hidden in NETS.values()]
    alone = [descend(*deepcopy(job)) for job in jobs]
    with ThreadPoolExecutor(len(jobs)) as pool:
        assert list(pool.map(descend, *zip(*jobs, strict=True))) == alone


def test_memory_does_not_grow_with_replays():
    inputs = Inputs()
    programs = [lambda p=p: p(inputs) for p in (top_two, split_and_joined, accumulated, normalised)]
    recordings = [Recording(p, outputs_for(p(), flat=True)) for p in programs]

    def n_tensors():
        gc.collect()
        return sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())

    for recording in recordings:
        recording.replay()
    before = n_tensors()
    for _ in range(20):
        for recording in recordings:
            recording.replay()
    assert n_tensors() == before


def test_outputs_that_are_inputs_are_written_last():
    x, total = torch.ones(3), torch.zeros(3)

    def function():
        y = x * 2
        return [y, x + y]

    recording = Recording(function, [x, total])
    recording.replay()
    assert (x.tolist(), total.tolist()) == ([2.0] * 3, [3.0] * 3)


def test_a_running_total_runs():
    x, total = torch.ones(3), torch.zeros(())
    recording = Recording(lambda: [total + x.sum()], [total])
    for n in range(1, 4):
        recording.replay()
        assert total.item() == 3 * n


def test_what_depends_on_constants_alone_is_computed_once():
    x, variance = torch.ones(3), torch.full((), 4.0)

    def function():
        return [x * variance.log().exp().sqrt()]

    usual, folded = Recording(function, [torch.zeros(3)]), Recording(function, [torch.zeros(3)], [variance])
    assert (len(usual.calls), len(folded.calls)) == (4, 1)


def test_a_constant_that_the_computation_changes_is_none():
    x, count = torch.ones(3), torch.zeros(())

    def function():
        count.add_(1)
        return [x * count.exp()]

    result = torch.zeros(3)
    recording = Recording(function, [result], [count])
    for n in range(2, 5):
        recording.replay()
        torch.testing.assert_close(result, torch.full((3,), math.exp(n)))


def test_what_no_result_depends_on_is_left_out_but_for_draws():
    x, result, generator = torch.ones(3), torch.zeros(3), torch.Generator().manual_seed(0)

    def function():
        x.exp().sum()
        torch.randn(2, generator=generator)
        return [x * 2]

    assert len(Recording(function, [result]).calls) == 2


def test_statistics_that_a_layer_keeps_are_kept_by_replays():
    recorded, eager = (torch.nn.BatchNorm1d(4) for _ in range(2))
    x = torch.ones(6, 4)

    def run(layer):
        return lambda: [layer(x).exp().sum()]

    assert_replays(run(recorded), [x], same=run(eager))
    torch.testing.assert_close(recorded.state_dict(), eager.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("program", [lambda x: x * x.sum().item(), lambda x: x[x > 0].sum(), lambda x: x.nonzero().sum()])
def test_branches_that_depend_on_data_are_refused(program):
    x = torch.ones(3)
    with pytest.raises(RuntimeError, match="depends on"):
        Recording(lambda: [program(x)], [torch.zeros(3)])
