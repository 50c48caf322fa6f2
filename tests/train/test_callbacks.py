"""Callbacks on their own."""

import torch
from torch.optim.swa_utils import AveragedModel

from audiovq.train.callbacks import rising_average


def averaged(decay, values):
    """What a weight that takes these values at successive steps is averaged to."""
    model = torch.nn.Linear(1, 1, bias=False)
    average = AveragedModel(model, multi_avg_fn=rising_average(decay))
    for value in values:
        torch.nn.init.constant_(model.weight, value)
        average.update_parameters(model)
    return average.module.weight.item()


def test_the_average_soon_forgets_the_first_weights():
    assert averaged(0.999, [100.0] + [1.0] * 100) - 1 < 1e-6  # 0.999 from the start would leave 90 of 99


def test_in_the_long_run_the_average_has_the_factor_asked_for():
    values = [0.0] * 200
    assert abs(averaged(0.9, [*values, 1.0]) - 0.1) < 1e-6
    assert abs(averaged(0.9, [*values, 1.0, 1.0]) - 0.19) < 1e-6


def test_a_weight_that_rests_stays_to_the_last_bit():
    value = float(torch.tensor(0.1) / 3)
    assert averaged(0.998, [value] * 50) == value
