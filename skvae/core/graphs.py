"""Computations that are recorded once and replayed into the same memory.

For small networks, Python and the dispatcher take longer than the arithmetic. A recording pays for them once: the computation
runs under a dispatch mode that records every kernel with its operands. A replay calls these kernels again, and each writes into
the tensor that it created the first time. A recording is to the CPU what a CUDA graph is to the GPU, with the same rules:
constant shapes, no branches on data, and inputs that are changed in place.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

Call = tuple[Any, tuple[Any, ...], dict[str, Any]]

WARM_UP_CALLS = 3  # before a capture, so that libraries are initialised
DRAWS = {"randn": "normal_", "rand": "uniform_"}  # and the methods that draw the same numbers in place


def compiled(
    function: Callable[[], Sequence[Tensor]],
    outputs: Sequence[Tensor],
    constants: Sequence[Tensor] = (),
    generator: torch.Generator | None = None,
) -> Callable[[], None]:
    """A fast version of ``function`` that writes the tensors it returns into ``outputs``.

    ``constants`` are tensors that do not change between calls. ``generator`` is the generator of its draws.
    """
    if outputs[0].device.type == "cpu":
        return Recording(function, outputs, constants).replay

    def eager() -> None:
        for output, result in zip(outputs, function(), strict=True):
            output.copy_(result.detach())

    return captured(eager, generator) if outputs[0].device.type == "cuda" else eager


def captured(function: Callable[[], None], generator: torch.Generator | None) -> Callable[[], None]:
    """The kernels of ``function`` as one CUDA graph, or the function itself if a kernel cannot be captured.

    The state of the generator is restored, because the calls before the capture draw from it.
    """
    state = None if generator is None else generator.get_state()
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP_CALLS):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    if generator is not None and state is not None:
        generator.set_state(state)
        graph.register_generator_state(generator)
    try:
        with torch.cuda.graph(graph):
            function()
    except RuntimeError:  # for example from a decomposition that runs on the CPU
        return function
    return graph.replay


class Recording:
    """The kernels of ``function``, ready to run again.

    Parameters
    ----------
    function : callable
        Takes nothing and returns tensors; reads and writes tensors that outlive it (parameters, batches) in place.
    outputs : sequence of Tensor
        Destination of each returned tensor. The result of a kernel is written there directly, without a copy.
    constants : sequence of Tensor
        Tensors that do not change between replays. Results that only depend on them are computed once.
    """

    def __init__(
        self, function: Callable[[], Sequence[Tensor]], outputs: Sequence[Tensor], constants: Sequence[Tensor] = ()
    ) -> None:
        with _Tape() as tape:
            results = function()
        needed = _read_later(_needed(tape.calls, {_memory(t) for t in constants}), results)
        homes = _homes(tape.calls, needed, results, outputs)

        def home(tensor: Tensor) -> Tensor:
            destination = homes.get(_memory(tensor))
            if destination is None:
                return tensor.detach()
            start = destination.storage_offset() * destination.element_size() // tensor.element_size()
            view = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
            offset = start + tensor.storage_offset()
            return view.set_(destination.untyped_storage(), offset, tensor.size(), tensor.stride())

        self.calls = [_into(call, result, home) for call, result in needed]
        for result, output in zip(results, outputs, strict=True):
            if homes.get(_memory(result)) is not output:
                self.calls.append((output.copy_, (home(result),), {}))

    @torch.no_grad()
    def replay(self) -> None:
        for kernel, args, kwargs in self.calls:
            kernel(*args, **kwargs)


class _Tape(TorchDispatchMode):
    """Records every kernel with its operands and its result."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Call, Any]] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Prevent torch from wrapping the method below: the wrapper imports the compiler, which takes a second."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _depends_on_data(func, args):
            raise RuntimeError(f"{func} depends on data, so it cannot be recorded.")
        result = func(*args, **kwargs)
        self.calls.append(((func, args, kwargs), result))
        return result


def _needed(calls: list[tuple[Call, Any]], constants: set[int]) -> list[tuple[Call, Any]]:
    """Drop views, whose memory the replay fills anyway, and constants, which already have their values.

    ``constants`` is the memory that does not change.
    """
    mutated = {_memory(t) for call, _ in calls if call[0]._schema.is_mutable for t in _tensors(call[1:])}
    constants = constants - mutated
    needed = []
    for call, result in calls:
        func = call[0]
        read = {_memory(t) for t in _tensors(call[1:])}
        made = {_memory(t) for t in _tensors(result)}
        if func._schema.is_mutable:
            needed.append((call, result))
        elif made <= read:
            continue
        elif not made & mutated and (_reads_shape_only(func) or (read <= constants and not _is_random(func))):
            constants |= made
        else:
            needed.append((call, result))
    return needed


def _read_later(calls: list[tuple[Call, Any]], results: Sequence[Tensor]) -> list[tuple[Call, Any]]:
    """Drop calls on which no result depends. Draws stay, so that the generator ends in the correct state."""
    wanted = {_memory(t) for t in results}
    kept = []
    for call, result in reversed(calls):
        func = call[0]
        if func._schema.is_mutable or _is_random(func) or not wanted.isdisjoint(_memory(t) for t in _tensors(result)):
            wanted.update(_memory(t) for t in _tensors(call[1:]))
            kept.append((call, result))
    return kept[::-1]


def _reads_shape_only(func: Any) -> bool:
    return func.overloadpacket.__name__ in {"ones_like", "zeros_like", "full_like", "new_zeros", "new_ones", "new_full"}


def _depends_on_data(func: Any, args: Any) -> bool:
    """Whether the result is read on the host, or has a shape that depends on the values of the operands."""
    if func.overloadpacket is torch.ops.aten.index:
        return any(t.dtype in (torch.bool, torch.uint8) for t in _tensors(args[1]))
    return not set(func.tags).isdisjoint({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape})


def _is_random(func: Any) -> bool:
    return torch.Tag.nondeterministic_seeded in func.tags


def _homes(
    calls: list[tuple[Call, Any]], needed: list[tuple[Call, Any]], results: Sequence[Tensor], outputs: Sequence[Tensor]
) -> dict[int, Tensor]:
    """Memory that an output can replace: created in each replay and filled by one result, in the layout of the output."""
    made = {_memory(t) for call, result in needed for t in _tensors(result) if not call[0]._schema.is_mutable}
    operands = {_memory(t) for call, _ in calls for t in _tensors(call[1:])}
    homes: dict[int, Tensor] = {}
    for result, output in zip(results, outputs, strict=True):
        memory = _memory(result)
        whole = result.untyped_storage().nbytes() == output.numel() * output.element_size()
        alike = result.dtype == output.dtype and result.shape == output.shape and _are_laid_out_alike(result, output)
        if whole and alike and memory in made and memory not in homes and _memory(output) not in operands:
            homes[memory] = output
    return homes


def _are_laid_out_alike(first: Tensor, second: Tensor) -> bool:
    return first.stride() == second.stride() or (first.is_contiguous() and second.is_contiguous())


def _into(call: Call, result: Any, home: Callable[[Tensor], Tensor]) -> Call:
    """The call, with its result written to the memory of the recorded result."""
    func, args, kwargs = call
    args, kwargs = tree_map_only(Tensor, home, (args, kwargs))
    if func._schema.is_mutable:
        return func, args, kwargs
    draw = DRAWS.get(func.overloadpacket.__name__)
    if draw is not None:
        return getattr(home(result), draw), (), {"generator": kwargs.get("generator")}
    variant = _out_variant(func)
    if variant is not None and isinstance(result, Tensor):
        kernel, name = variant
        return _faster(kernel, args, {**kwargs, name: home(result)})
    buffers = [home(t) for t in _tensors(result)]

    def run_and_copy(*args: Any, **kwargs: Any) -> None:
        for buffer, value in zip(buffers, _tensors(func(*args, **kwargs)), strict=True):
            buffer.copy_(value)

    return run_and_copy, args, kwargs


def _faster(kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """The call through torch's function of this name, if it takes these arguments: it parses them in half the time."""
    function = getattr(torch, kernel.overloadpacket.__name__, None)
    if function is not None and not _is_random(kernel):
        with suppress(TypeError), torch.no_grad():
            function(*args, **kwargs)
            return function, args, kwargs
    return kernel, args, kwargs


@cache
def _out_variant(func: Any) -> tuple[Any, str] | None:
    """The overload of a kernel with an additional output argument, and the name of that argument."""
    signature = [(a.name, str(a.type)) for a in func._schema.arguments]
    for name in func.overloadpacket.overloads():
        overload = getattr(func.overloadpacket, name)
        out = [a.name for a in overload._schema.arguments if a.is_out]
        if len(out) == 1 and [(a.name, str(a.type)) for a in overload._schema.arguments if not a.is_out] == signature:
            return overload, out[0]
    return None


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
