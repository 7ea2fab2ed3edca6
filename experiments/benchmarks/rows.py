"""Flat JSON rows, appended as they come, and what has to be known of the machine that made them."""

import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PACKAGES = ("jax", "jaxlib", "numpy", "numpyro", "tinygp", "ibo_jax")
THREADS = ("OMP_NUM_THREADS", "XLA_FLAGS")


def append(path: Path, row: dict[str, Any]) -> None:
    """Add one row in a single write, so that two processes may share a file."""
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All rows, none if there is no file; a torn last line is dropped."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def machine() -> dict[str, Any]:
    """Processor, threads, versions and commit."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "--", "src") else ""),
        **{name: os.environ.get(name, "") for name in THREADS},
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=False)
    return done.stdout.strip()
