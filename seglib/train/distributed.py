"""Several processes that train one network: what they add up, share and agree on. A single process needs none of it.

`torchrun` starts the processes and tells each its place. They share the global batch, and the gradients that they add
up are those of one process with the whole of it. For that, batch norm has to see the global batch: on CUDA as torch's
SyncBatchNorm, on the CPU as `GlobalBatchNorm2d`. With `freeze_bn` there are no statistics to share.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

TIMEOUT = timedelta(minutes=10)  # for a process that waits for one that hangs; one that dies is noticed at once
CHANNELS_LEFT = (0, 2, 3)  # what is summed over to leave a value per channel


@contextmanager
def joined() -> Iterator[None]:
    """The body runs between `join` and `leave`; after an error the process ends, and torchrun ends the others."""
    join()
    yield
    leave()  # not after an error: NCCL would wait for the others, and they for this process


def join() -> None:
    """Joins the processes that torchrun started; does nothing in a process that is alone, or has joined.

    Tensors on CUDA go through NCCL, one device per process of a machine; those on the CPU through gloo.

    Raises:
        ValueError: more processes on this machine than CUDA devices.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "RANK" not in os.environ or dist.is_initialized():
        return
    backend = "gloo"
    if devices := torch.cuda.device_count():
        if (local_processes := int(os.environ["LOCAL_WORLD_SIZE"])) > devices:
            raise ValueError(f"--nproc-per-node={local_processes}; expected at most the {devices} CUDA devices here")
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=TIMEOUT)


def leave() -> None:
    """Undoes `join`."""
    if dist.is_initialized():
        dist.destroy_process_group()


def world_size() -> int:
    """Number of processes that train together; 1 for a process that is alone."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's number, 0 to `world_size() - 1`."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Whether this is process 0, which alone writes files and draws progress."""
    return rank() == 0


def sum_over_processes(tensor: Tensor) -> Tensor:
    """Replaces a contiguous tensor by its sum over all processes, in place, and returns it."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def gather(tensor: Tensor) -> list[Tensor]:
    """Every process's tensor, by rank; they must have one shape and dtype. Gradients do not pass."""
    if world_size() == 1:
        return [tensor]
    own = tensor.detach().contiguous()
    everyones = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(everyones, own)
    return everyones


def gather_states(states: Sequence[Tensor]) -> list[list[Tensor]]:
    """Every process's generator states (see `seglib.train.checkpoint.generator_states`), by rank."""
    by_device = [gather(state) for state in states]
    return [list(of_one) for of_one in zip(*by_device, strict=True)]


def from_main(value: int) -> int:
    """Process 0's value, in every process: a decision that all have to take alike."""
    if world_size() == 1:
        return value
    told = torch.tensor(value)
    dist.broadcast(told, src=0)
    return int(told)


def barrier() -> None:
    """Waits until every process is here."""
    sum_over_processes(torch.zeros(1))


@contextmanager
def first_of_machine_first() -> Iterator[None]:
    """The body runs in the first process of each machine, then in the others, which find what it downloaded."""
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    if not first:
        barrier()
    yield
    if first:
        barrier()
    barrier()


def check_alike(name: str, value: int) -> None:
    """Raises ValueError, in every process, unless all have the same value."""
    found = [int(other) for other in gather(torch.tensor(value))]
    if len(set(found)) > 1:
        raise ValueError(f"{name}: {found} in the {len(found)} processes; expected the same. Do all see one run_dir?")


def broadcast_weights(model: nn.Module) -> None:
    """Gives every process the parameters and buffers of process 0."""
    if world_size() == 1:
        return
    with torch.no_grad():
        for tensor in model.state_dict().values():
            whole = tensor.contiguous()  # a copy where the layout is channels_last
            dist.broadcast(whole, src=0)
            tensor.copy_(whole)


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replaces the gradients by their sums over all processes.

    In one message, after the backward pass: sums are taken in the same order in every run, as a message per bucket
    that sets off while others are still computed (DistributedDataParallel) does not promise.
    """
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = sum_over_processes(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, total in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(total.view(gradient.shape))


def synchronise_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with batch norm over all processes' batches; parameters and state_dict keys stay as they are."""
    if world_size() == 1:
        return model
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for name, child in model.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(model, name, GlobalBatchNorm2d.like(child))
        else:
            synchronise_batch_norm(child, device)
    return model


class GlobalBatchNorm2d(nn.modules.batchnorm._BatchNorm):
    """`nn.BatchNorm2d` over the batches of all processes, for the CPU, where torch has none (SyncBatchNorm is CUDA's).

    In training mode (B, C, H, W) is normalised by the mean and variance of every process's pixels, weighted by their
    number; running_var is the unbiased one of that global number, as in SyncBatchNorm. In evaluation mode, and so when
    it is frozen, no message is sent. The gradients of weight and bias are this process's share: they are to be summed.
    """

    @classmethod
    def like(cls, norm: nn.BatchNorm2d) -> "GlobalBatchNorm2d":
        """A module with the parameters, buffers and settings of another."""
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        made.weight, made.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            setattr(made, name, buffer)
        return made.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        mean, variance, count = _global_statistics(x.detach())
        self._track(mean, variance * count / (count - 1))
        return _Normalised.apply(x, self.weight, self.bias, mean.to(x), (variance + self.eps).rsqrt().to(x), count)

    @torch.no_grad()
    def _track(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        self.num_batches_tracked += 1
        # no momentum: the plain mean over all batches, PyTorch's rule
        share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        for running, new in ((self.running_mean, mean), (self.running_var, unbiased_variance)):
            running.mul_(1 - share).add_(new, alpha=share)


def _global_statistics(x: Tensor) -> tuple[Tensor, Tensor, float]:
    """(B, C, H, W) -> mean and biased variance of each channel, (C,) float64, and the number of values per channel."""
    count = x.numel() // x.shape[1]
    # the sums that nn.BatchNorm2d takes; `torch.var_mean` is several times slower
    mean, variance = (values.double() for values in torch.batch_norm_update_stats(x, None, None, 0.0))
    own = torch.cat([mean * count, (variance + mean.square()) * count, mean.new_tensor([count])])
    *sums, (total,) = sum_over_processes(own).split([x.shape[1], x.shape[1], 1])
    mean, mean_square = (values / total for values in sums)
    return mean, mean_square - mean.square(), float(total)


class _Normalised(torch.autograd.Function):
    """(x - mean) / deviation * weight + bias, where mean and deviation depend on every process's x."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, inverse_deviation: Tensor, count: float
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, inverse_deviation)
        ctx.count = count
        scale = weight * inverse_deviation
        return (x - _wide(mean)) * _wide(scale) + _wide(bias)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse_deviation = ctx.saved_tensors
        normalised = (x - _wide(mean)) * _wide(inverse_deviation)  # (B, C, H, W)
        grad_bias = grad_output.sum(CHANNELS_LEFT)
        grad_weight = (grad_output * normalised).sum(CHANNELS_LEFT)
        of_mean, of_deviation = sum_over_processes(torch.stack([grad_bias, grad_weight])) / ctx.count
        grad_x = grad_output - _wide(of_mean) - normalised * _wide(of_deviation)
        return grad_x * _wide(weight * inverse_deviation), grad_weight, grad_bias, None, None, None


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None]
