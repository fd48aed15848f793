"""The processes of a torch.distributed group, which train a model together."""

from collections.abc import Callable
from typing import Any

import torch.distributed as dist
from torch import Tensor


class Ranks:
    """All processes of the default group, each with a part of the rows.

    All processes must make the same calls in the same order; each call waits for the others. Tensors may be on any device. If
    the backend only supports CUDA, CPU tensors are sent through the current GPU.
    """

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()

    def average(self, tensor: Tensor, share: float) -> None:
        """Replace a tensor by its weighted mean over ranks; the shares add up to 1."""
        tensor.mul_(share)
        self._communicate(dist.all_reduce, tensor)

    def copy_from_first(self, tensor: Tensor) -> None:
        """Replace a tensor by that of rank 0."""
        self._communicate(lambda here: dist.broadcast(here, src=0), tensor)

    def gathered(self, own: Any) -> list[Any]:
        """The objects of all ranks, in their order."""
        objects: list[Any] = [None] * self.size
        dist.all_gather_object(objects, own)
        return objects

    def of_first(self, own: Any) -> Any:
        """The object of rank 0."""
        objects = [own]
        dist.broadcast_object_list(objects, src=0)
        return objects[0]

    def together(self, work: Callable[[], Any]) -> Any:
        """The result of a function in this rank; an error in one rank is raised in all.

        Raises
        ------
        ValueError
            If it failed in another rank.
        """
        result, error = None, None
        try:
            result = work()
        except Exception as own:
            error = own
        messages = self.gathered(None if error is None else f"{type(error).__name__}: {error}")
        if error is not None:
            raise error
        for rank, message in enumerate(messages):
            if message is not None:
                raise ValueError(f"Rank {rank} failed. {message}")
        return result

    def _communicate(self, function: Any, tensor: Tensor) -> None:
        here = tensor.to("cuda") if tensor.device.type == "cpu" and dist.get_backend() == "nccl" else tensor
        function(here)
        if here is not tensor:
            tensor.copy_(here)
