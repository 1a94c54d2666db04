"""Several processes that train one network: what they add up, share and agree on. One process needs none of it.

`torchrun` starts the processes and tells each its place. They share the global batch, and the gradients that they add
up are those of one process with the whole of it. For that, batch norm has to see the global batch.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from seglib.models.norms import adopt_batch_norm, replace_batch_norm

TIMEOUT = timedelta(minutes=10)  # for a process that waits for one that hangs; one that dies is noticed at once


@contextmanager
def join() -> Iterator[None]:
    """Joins the processes that torchrun started, for the body; does nothing in a process that is the only one.

    Tensors on CUDA go through NCCL, one device per process of a machine; those on the CPU through gloo. Raises
    ValueError if there are more processes on this machine than CUDA devices.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "RANK" not in os.environ or dist.is_initialized():
        yield
        return
    backend = "gloo"
    if devices := torch.cuda.device_count():
        if (local_processes := int(os.environ["LOCAL_WORLD_SIZE"])) > devices:
            raise ValueError(f"--nproc-per-node={local_processes}; expected at most the {devices} CUDA devices here")
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=TIMEOUT)
    yield
    dist.destroy_process_group()  # not after an error: NCCL would wait for the others, and they for this process


def end() -> None:
    """Ends this process if it is one of several, when all have come here; their files are written.

    Now and then gloo's threads abort the interpreter's own end, and torchrun would report a run that failed.
    """
    if world_size() > 1:
        sum_over_processes(torch.zeros(1))
        os._exit(0)


def world_size() -> int:
    """Returns the number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Returns this process's number, 0 to `world_size() - 1`."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Tells whether this is process 0, the only one that writes files and draws progress."""
    return rank() == 0


def sum_over_processes(tensor: Tensor) -> Tensor:
    """Replaces a contiguous tensor by its sum over all processes, in place, and returns it."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def gather(tensor: Tensor) -> list[Tensor]:
    """Collects every process's tensor, by rank; they must have one shape and dtype. Gradients do not pass."""
    if world_size() == 1:
        return [tensor]
    own = tensor.detach().contiguous()
    everyones = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(everyones, own)
    return everyones


def from_main(value: int) -> int:
    """Returns process 0's value in every process: a decision that all have to take alike."""
    if world_size() == 1:
        return value
    told = torch.tensor(value)
    dist.broadcast(told, src=0)
    return int(told)


def check_alike(name: str, value: int) -> None:
    """Raises ValueError, in every process, unless all have the same value."""
    found = [int(other) for other in gather(torch.tensor(value))]
    if len(set(found)) > 1:
        raise ValueError(f"{name}: {found} in the {len(found)} processes; expected the same. Do all see one run_dir?")


@contextmanager
def first_of_machine_first() -> Iterator[None]:
    """Runs the body in the first process of each machine, then in the others, which find what it downloaded."""
    turn = min(int(os.environ.get("LOCAL_RANK", "0")), 1)
    for now in (0, 1):
        if now == turn:
            yield
        sum_over_processes(torch.zeros(1))  # waits until every process is here


def broadcast_weights(model: nn.Module) -> None:
    """Gives every process the parameters and buffers of process 0."""
    for tensor in model.state_dict().values() if world_size() > 1 else ():
        whole = tensor.contiguous()  # a copy where the layout is channels_last
        dist.broadcast(whole, src=0)
        tensor.copy_(whole)


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replaces the gradients by their sums over all processes.

    In one message: DistributedDataParallel's buckets are arranged anew after the first step, so that a resumed run
    would add up in another order and end with other bits.
    """
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = sum_over_processes(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, total in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(total.view(gradient.shape))


def synchronise_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """Returns the model with batch norm over all processes' batches; parameters and state_dict keys stay."""
    if world_size() == 1:
        return model
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        replace_batch_norm(model, GlobalBatchNorm2d.like)
    return model


class GlobalBatchNorm2d(nn.modules.batchnorm._BatchNorm):
    """`nn.BatchNorm2d` over the batches of all processes, for the CPU, where torch has none (SyncBatchNorm is CUDA's).

    running_var is the unbiased one. The gradients of weight and bias are this process's share: they are to be summed.
    """

    @classmethod
    def like(cls, norm: nn.BatchNorm2d) -> "GlobalBatchNorm2d":
        """Makes a module with the parameters, buffers and settings of a batch norm."""
        return adopt_batch_norm(cls(norm.num_features, norm.eps, norm.momentum), norm)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        own = x.double()  # mean(x^2) - mean(x)^2 cancels in float32
        number = own.new_tensor([x.numel() / x.shape[1]])
        sums = torch.cat([own.sum((0, 2, 3)), own.square().sum((0, 2, 3)), number])
        *sums, number = _SumOverProcesses.apply(sums).split([x.shape[1], x.shape[1], 1])
        mean, mean_square = (values / number for values in sums)  # (C,) each
        variance = mean_square - mean.square()
        with torch.no_grad():
            self.num_batches_tracked += 1
            # no momentum: the plain mean over all batches, PyTorch's rule
            share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.to(self.running_mean), share)
            self.running_var.lerp_((variance * number / (number - 1)).to(self.running_var), share)
        scale = self.weight * (variance + self.eps).rsqrt().to(x)
        return (x - mean.to(x)[:, None, None]) * scale[:, None, None] + self.bias[:, None, None]


class _SumOverProcesses(torch.autograd.Function):
    """The sum over all processes, of which each one's loss depends: so its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return sum_over_processes(x.clone())

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return sum_over_processes(grad_output.clone())
