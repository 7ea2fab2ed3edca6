"""What every test runs under: shape and type checks on, two cores shared fairly, and no file outside the repository."""

import os
import tempfile
from importlib.metadata import version
from pathlib import Path

from packaging.version import Version

CACHE = Path(__file__).resolve().parent.parent / ".pytest_cache"

# Before JAX is imported, and inherited by the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A first run mostly compiles: without optimisation that takes half as long (`make test-all` has it).
UNOPTIMISED = "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=0"
if Version(version("jaxlib")) < Version("0.11"):
    UNOPTIMISED += " --xla_cpu_use_fusion_emitters=false"
else:  # 0.11.2 ends the process at that flag
    UNOPTIMISED += " --xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters=true"
os.environ.setdefault("XLA_FLAGS", UNOPTIMISED)
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")  # equations, not the rounding of a GPU to TF32
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.pop("IBO_JAX_CACHE", None)
os.environ["XDG_CACHE_HOME"] = str(CACHE)  # the user's own cache stays as it is
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(CACHE / "jax")  # kept between runs: most of a first run compiles
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["MPLCONFIGDIR"] = os.environ.get("MPLCONFIGDIR") or tempfile.mkdtemp(prefix="matplotlib-")

import jaxtyping  # noqa: E402
import pytest  # noqa: E402

# The numeric tower: where a float is expected an int will do, as for mypy.
jaxtyping.install_import_hook("ibo_jax", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")


@pytest.fixture
def unchecked_types():
    """As users run it: without the type checks of the tests."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def undrawn(monkeypatch):
    """Pages of searches without figures, for tests that look at other things: Matplotlib takes two seconds for them."""
    from ibo_jax.study import report

    monkeypatch.setattr(report, "_figures", lambda trials, summary: "")


collect_ignore_glob = ["*conftest.py"]  # loaded by pytest already; to collect doctests of two would clash by name
