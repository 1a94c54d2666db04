"""Folds partition a list; batch norm's statistics can be estimated again."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from refusal import refused
from torch import nn

from seglib.data.open import split_into_folds
from seglib.data.transforms import UNIT
from seglib.train.optim import reestimate_batch_norm


@given(length=st.integers(2, 60), data=st.data())
def test_folds_partition_the_list(length: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(2, length))
    parts = split_into_folds(length, count, seed=1)
    assert sorted(index for part in parts for index in part) == list(range(length))
    sizes = [len(part) for part in parts]
    assert len(parts) == count and max(sizes) - min(sizes) <= 1
    assert parts == split_into_folds(length, count, seed=1)
    assert split_into_folds(40, 4, seed=0) != split_into_folds(40, 4, seed=1)
    refused("folds = 1", split_into_folds, length, 1)


def test_batch_norm_is_estimated_over_all_batches() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.ReLU()).train()
    model[1].running_mean.fill_(7.0)
    batches = [torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8) for _ in range(3)]
    reestimate_batch_norm(model, batches, UNIT)
    with torch.no_grad():
        maps = [model[0](UNIT(batch)) for batch in batches]
    torch.testing.assert_close(model[1].running_mean, torch.stack([m.mean(dim=(0, 2, 3)) for m in maps]).mean(dim=0))
    torch.testing.assert_close(model[1].running_var, torch.stack([m.var(dim=(0, 2, 3)) for m in maps]).mean(dim=0))
    assert model.training and model[2].training and model[1].momentum == 0.1
    refused("found none", reestimate_batch_norm, model, [], UNIT)
