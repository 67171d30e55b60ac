"""Settings of the whole test run; they must be in place before jax is imported."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
_FLAG = "--xla_force_host_platform_device_count"
if _FLAG not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAG}=4".strip()
os.environ.setdefault("MPLBACKEND", "Agg")

import jax  # noqa: E402

# Silent broadcasting between ranks is the classic way to a wrong loss: [B] - [B, 1] is [B, B].
jax.config.update("jax_numpy_rank_promotion", "raise")
