"""Ratios of counts, of which some are undefined: nan for 0 / 0, left out of means, None in JSON."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np


def divide(numerator: np.ndarray | float, denominator: np.ndarray | float) -> np.ndarray:
    """numerator / denominator of numbers >= 0, as float64; nan where the denominator is 0."""
    denominator = np.asarray(denominator, np.float64)
    return np.divide(numerator, denominator, out=np.full_like(denominator, np.nan), where=denominator > 0)


def mean_present(values: Iterable[float]) -> float:
    """The mean of the values that are not nan; nan if there is none."""
    present = [value for value in values if not math.isnan(value)]
    return float(np.mean(present)) if present else math.nan


def to_json(value: Any) -> Any:
    """A number, or an array or a dict of numbers, as JSON can hold it: a list for an array, None for nan."""
    if isinstance(value, dict):
        return {key: to_json(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return [to_json(each) for each in value]
    return None if math.isnan(value) else float(value)
