"""Several processes that learn one network (torchrun), or the only one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import distributed


@dataclass(frozen=True)
class Ranks:
    """This process's number among ``count``. All methods do nothing costly where it is alone."""

    number: int = 0
    count: int = 1

    @classmethod
    def from_environment(cls, device: str) -> Ranks:
        """As torchrun's variables say; joins the group of processes, by NCCL on CUDA, a card each, and by gloo elsewhere."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls()
        if device.startswith("cuda"):
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""
        return self.number == 0

    def share(self, items: Sequence) -> Sequence:
        """This process's part of a batch."""
        return items[self.number :: self.count]

    def divisor(self, total: torch.Tensor) -> torch.Tensor:
        """Sums of losses over this are, in the mean over the processes, those of the whole batch over its own count."""
        if self.count == 1:
            return total.clamp(min=1)
        every = total.detach().clone()
        distributed.all_reduce(every)
        return every.clamp(min=1) / self.count

    def average_gradients(self, model: torch.nn.Module) -> None:
        """Every process steps alike; a parameter that this one's images did not touch takes part with zeros."""
        if self.count == 1:
            return
        learning = [p for p in model.parameters() if p.requires_grad]
        for p in learning:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        flat = torch.cat([p.grad.flatten() for p in learning])
        distributed.all_reduce(flat)
        for p, gradient in zip(learning, (flat / self.count).split([p.numel() for p in learning])):
            p.grad.copy_(gradient.view_as(p))

    def any(self, here: bool) -> bool:
        """Whether it is so in one of the processes, so that all stop together."""
        if self.count == 1:
            return here
        flag = torch.tensor(float(here))
        if distributed.get_backend() == "nccl":
            flag = flag.cuda()
        distributed.all_reduce(flag)
        return bool(flag)

    def in_turn(self, work):
        """``work()`` of the leading process first, so that the others find its files; its result."""
        if self.count == 1:
            return work()
        if not self.leads:
            distributed.barrier()
        result = work()
        if self.leads:
            distributed.barrier()
        return result

    def leaders(self, value: float) -> float:
        """The leading process's value, in all of them."""
        if self.count == 1:
            return value
        said = [value]
        distributed.broadcast_object_list(said)
        return said[0]

    def wait(self) -> None:
        if self.count > 1:
            distributed.barrier()


ALONE = Ranks()
