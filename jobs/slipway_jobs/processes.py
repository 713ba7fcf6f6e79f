"""The processes of a run: who this one is, from what torchrun set, and the few things they do together."""

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Process:
    rank: int
    world: int
    device: torch.device

    @property
    def reports(self) -> bool:
        """Rank 0 evaluates, exports and reports."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """True everywhere if it is true anywhere, so that all leave at the same step."""
        return bool(self.highest(int(flag)))

    def highest(self, value: int) -> int:
        if self.world == 1:
            return value
        told = torch.tensor([value], device=self.device)
        dist.all_reduce(told, op=dist.ReduceOp.MAX)
        return int(told.item())

    def sum(self, values: list[float]) -> list[float]:
        if self.world == 1:
            return values
        told = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(told)
        return [float(value) for value in told]

    def leave(self) -> None:
        if self.world > 1:
            dist.destroy_process_group()


def join() -> Process:
    """Joins the group that torchrun describes; alone without one."""
    torch.set_num_threads(max(1, int(os.environ.get("OMP_NUM_THREADS", "1"))))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if world > 1:
        # 15 minutes: a node of a gang may still be pulling its image.
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(minutes=15))
    return Process(rank, world, device)
