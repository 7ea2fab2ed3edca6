"""Compiled programs kept on disk between runs, so that a second run of a problem starts at once."""

import os
from pathlib import Path

import jax

__all__ = ["enable_compilation_cache"]


def enable_compilation_cache() -> Path | None:
    """Turn JAX's persistent compilation cache on for every program, however quick to compile.

    The folder is `$IBO_JAX_CACHE`, else `$XDG_CACHE_HOME/ibo_jax/jax`, else `~/.cache/ibo_jax/jax`; a folder that
    JAX was already given (`JAX_COMPILATION_CACHE_DIR`) is left as it is. `IBO_JAX_CACHE=` (empty) turns it off.

    Returns:
        The folder, or None if the cache is off.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    chosen = os.environ.get("IBO_JAX_CACHE", str(Path(home) / "ibo_jax" / "jax"))
    folder = jax.config.values["jax_compilation_cache_dir"] or chosen
    if not folder:
        return None
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return Path(folder)
