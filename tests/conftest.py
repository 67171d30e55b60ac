"""Settings of the whole test run; they must be in place before jax is imported."""

import importlib.metadata
import os

os.environ["JAX_PLATFORMS"] = "cpu"
FLAGS = {
    "--xla_force_host_platform_device_count": "4",
    # Most of a test run is compiling programs that run once: half of it is LLVM polishing them.
    "--xla_backend_optimization_level": "0",
    "--xla_llvm_disable_expensive_passes": "true",
}
# Half of what is left goes to the newer way of writing out fused operations. An XLA that does not know a flag aborts.
if importlib.metadata.version("jaxlib").startswith("0.10."):
    FLAGS["--xla_cpu_use_fusion_emitters"] = "false"
for _flag, _value in FLAGS.items():
    if _flag not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_flag}={_value}".strip()
os.environ.setdefault("MPLBACKEND", "Agg")

import jax  # noqa: E402
import pytest  # noqa: E402

# Silent broadcasting between ranks is the classic way to a wrong loss: [B] - [B, 1] is [B, B].
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="module", autouse=True)
def _no_programs_of_other_files():
    """Compiled programs go when their file is done: all of them together would take several gigabytes."""
    yield
    jax.clear_caches()
