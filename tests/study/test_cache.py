"""Compiled programs are kept on disk."""

import subprocess
import sys


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
    assert done.stdout.strip() == str(tmp_path / "cache" / "jax")
    assert any((tmp_path / "cache" / "jax").iterdir())
