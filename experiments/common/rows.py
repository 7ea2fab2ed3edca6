"""Flat JSON rows, appended as they come, and what must be known about the machine that made them.

A file of many rows may be compressed: `gzip -9 FILE` makes `FILE.gz`, which is read before rows added later.
"""

import contextlib
import gzip
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

PACKAGES = ("jax", "jaxlib", "numpy", "numpyro", "tinygp", "ibo_jax")
THREADS = ("OMP_NUM_THREADS", "XLA_FLAGS")


def append(path: Path, row: dict[str, Any]) -> None:
    """Add one row in a single write, so that two processes can share a file; an incomplete last line is ended first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        torn = size > 0 and file.read(1) != b"\n"
        file.write(b"\n" * torn + json.dumps(row).encode() + b"\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All rows, compressed ones first, none if there is no file; a line that a killed process left incomplete is
    dropped."""
    found, packed = [], packed_name(path)
    lines = gzip.decompress(packed.read_bytes()).decode().splitlines() if packed.exists() else []
    for line in [*lines, *(path.read_text().splitlines() if path.exists() else [])]:
        with contextlib.suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return found


def packed_name(path: Path) -> Path:
    """Where the compressed rows of a file are."""
    return path.with_name(f"{path.name}.gz")


def files(folder: Path, pattern: str) -> list[Path]:
    """Files of rows by name, compressed ones by the name that they had before."""
    packed = (path.with_suffix("") for path in folder.glob(f"{pattern}.gz"))
    return sorted({*folder.glob(pattern), *packed})


def relative(path: Path) -> Path:
    """The path of a file relative to the checkout, if it is inside."""
    checkout = Path(__file__).parents[2]
    return path.relative_to(checkout) if path.is_relative_to(checkout) else path


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
    """What Git prints; nothing outside a checkout, or where Git is not installed."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip()
