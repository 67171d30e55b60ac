"""How many devices a CPU is cut into."""

import os
import subprocess
import sys

import pytest

from imbal_jax.runtime import cpu_devices

USE = (
    "from imbal_jax.runtime import cpu_devices; cpu_devices.usable_cores = lambda: 2; cpu_devices.use_cores(4); "
    "import jax; print(len(jax.devices()))"
)


@pytest.mark.parametrize(
    ("lanes", "available", "devices"),
    [(1, 8, 1), (2, 2, 2), (20, 2, 2), (3, 2, 1), (5, 2, 2), (5, 8, 5), (64, 48, 32), (9, 8, 5), (7, 1, 1), (0, 2, 1)],
)
def test_the_fewest_devices_for_as_many_rounds_unless_much_would_be_copies(lanes, available, devices):
    assert cpu_devices.device_count(lanes, available) == devices


@pytest.mark.parametrize(("flags", "devices"), [("", "2"), (f"{cpu_devices.FLAG}=3", "3")])
def test_the_users_own_number_stands(flags, devices):
    surroundings = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", USE], env=surroundings, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == devices
