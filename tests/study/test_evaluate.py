"""Memory is given back, and compiled programs are kept on disk."""

import subprocess
import sys

from ibo_jax.study.evaluate import GROWTH_MEGABYTES, release_memory, resident_megabytes


def test_memory_is_given_back_only_when_it_has_grown():
    import jax

    from ibo_jax.training import programs  # something could have been trained

    assert programs is not None
    resident = resident_megabytes()
    assert 50 < resident < 10_000
    function = jax.jit(lambda x: x + 1)
    function(1.0)
    assert release_memory(resident + 1000) == resident + 1000
    assert function._cache_size() == 1
    allowed = release_memory(resident - 1)
    assert allowed - GROWTH_MEGABYTES <= resident_megabytes() + 50
    assert function._cache_size() == 0


def test_every_program_is_kept_on_disk(tmp_path):
    code = """
from ibo_jax.study.cache import enable_compilation_cache
print(enable_compilation_cache())
import jax
jax.jit(lambda x: 2 * x + 1)(1.0).block_until_ready()
"""
    environment = {"PATH": "", "IBO_JAX_CACHE": str(tmp_path / "cache"), "JAX_PLATFORMS": "cpu", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == str(tmp_path / "cache")
    assert any((tmp_path / "cache").iterdir())
