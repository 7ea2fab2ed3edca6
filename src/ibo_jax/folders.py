"""Where the package keeps what it can regenerate: decoded data and compiled programs."""

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """IBO_JAX_CACHE, or ibo_jax in XDG_CACHE_HOME, or in ~/.cache."""
    if folder := os.environ.get("IBO_JAX_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ibo_jax"
