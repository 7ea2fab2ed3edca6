"""Compiled programs kept on disk between runs, so that a second run of a problem starts at once."""

import os
from pathlib import Path

import jax

from ibo_jax.folders import cache_folder

__all__ = ["enable_compilation_cache"]


def enable_compilation_cache() -> Path | None:
    """Turn JAX's persistent compilation cache on for every program, however quick to compile.

    The folder is "jax" in `cache_folder()`; one that JAX was already given (`JAX_COMPILATION_CACHE_DIR`) is left as it
    is. `IBO_JAX_CACHE=` (empty) turns it off.

    Returns:
        The folder, or None if the cache is off.
    """
    folder = jax.config.values["jax_compilation_cache_dir"]
    if not folder and os.environ.get("IBO_JAX_CACHE") == "":
        return None
    folder = Path(folder or cache_folder() / "jax")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder
