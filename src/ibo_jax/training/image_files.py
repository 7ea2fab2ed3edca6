"""Image sets of TFDS as arrays on disk: decoded once, later mapped into memory, whitened on demand."""

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ibo_jax.folders import cache_folder

__all__ = ["images", "whitened", "zca"]

PARTS = ("train", "test")


def images(name: str, download: bool) -> tuple[np.ndarray, ...]:
    """Training inputs and labels, test inputs and labels, decoded at the first call."""
    folder = cache_folder() / name
    if not folder.exists():
        sources = [open_source(name, part, download) for part in PARTS]
        with _new_folder(folder) as fresh:
            for part, source in zip(PARTS, sources, strict=True):
                decode(source, fresh, part)
    return tuple(_map(folder / f"{part}_{kind}.npy") for part in PARTS for kind in ("inputs", "labels"))


def open_source(name: str, part: str, download: bool) -> Any:
    """Records of TFDS with random access.

    Raises:
        FileNotFoundError: no copy is prepared, or it is not in ArrayRecord format. Any other failure inside TFDS is a
            fault and is raised unchanged.
    """
    import tensorflow_datasets as tfds

    folder = os.environ.get("TFDS_DATA_DIR")
    try:
        builder = tfds.builder(name, data_dir=folder, file_format="array_record")
    except ValueError as error:  # a copy in another format; TFDS says which
        raise FileNotFoundError(f"{_missing(name, folder)}\n({error})") from error
    if download:
        builder.download_and_prepare()
    if not builder.is_prepared():
        raise FileNotFoundError(_missing(name, folder))
    return builder.as_data_source(split=part)


def _missing(name: str, folder: str | None) -> str:
    return (
        f"{name}: expected a copy prepared by TensorFlow Datasets in ArrayRecord form, got none in "
        f"{folder or '~/tensorflow_datasets'}; set the environment variable TFDS_DATA_DIR to the folder that holds "
        "one, or fetch it once with\n"
        f"  python -c 'from ibo_jax.training.datasets import load; load(\"{name}\", download=True)'"
    )


def decode(source: Any, folder: Path, part: str, chunk: int = 1000) -> None:
    """Write images and labels of a source record by record, so that memory stays small."""
    labels = np.zeros(len(source), np.int32)

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(source), chunk):
            records = source.__getitems__(range(start, min(start + chunk, len(source))))
            labels[start : start + chunk] = [record["label"] for record in records]
            yield np.stack([record["image"] for record in records])

    _write(folder / f"{part}_inputs.npy", np.uint8, (len(source), *source[0]["image"].shape), blocks())
    np.save(folder / f"{part}_labels.npy", labels)


def whitened(
    name: str, cut: int, top: int, inputs: np.ndarray, test_inputs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Training and test images whitened by the first `cut` training images, float32; computed at the first call.

    Args:
        name: name of the data and their split: later calls with this name and `cut` return the first result.
        top: largest possible value of a pixel.
    """
    folder = cache_folder() / f"{name}-zca-{cut}"
    if not folder.exists():
        with _new_folder(folder) as fresh:
            mean, matrix = zca(inputs[:cut], top)
            for part, images in zip(PARTS, (inputs, test_inputs), strict=True):
                blocks = (images[start : start + 1000] for start in range(0, len(images), 1000))
                white = ((_unit(block, top) - mean) @ matrix for block in blocks)
                _write(fresh / f"{part}_inputs.npy", np.float32, images.shape, white)
    return _map(folder / "train_inputs.npy"), _map(folder / "test_inputs.npy")


def zca(inputs: np.ndarray, top: int, epsilon: float = 1e-6) -> tuple[np.ndarray, np.ndarray]:
    """Mean and symmetric whitening matrix of uint8 images scaled to [0, 1] and flattened, float32.

    (x / top - mean) @ matrix has the identity as covariance, up to `epsilon` added to its variances (Keras' value).
    """
    pixels = int(np.prod(inputs.shape[1:]))
    total, square = np.zeros(pixels), np.zeros((pixels, pixels))
    for start in range(0, len(inputs), 1000):
        block = _unit(inputs[start : start + 1000], top)
        total += block.sum(0, dtype=np.float64)
        square += block.T @ block
    mean = total / len(inputs)
    variances, axes = np.linalg.eigh(square / len(inputs) - np.outer(mean, mean))
    matrix = (axes / np.sqrt(np.maximum(variances, 0) + epsilon)) @ axes.T
    return mean.astype(np.float32), matrix.astype(np.float32)


def _unit(images: np.ndarray, top: int) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(top)


def _write(path: Path, kind: type, shape: tuple[int, ...], blocks: Iterable[np.ndarray]) -> None:
    """An array as a file. Writing into mapped memory would end the process where the disk is full."""
    descr = np.lib.format.dtype_to_descr(np.dtype(kind))
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
        for block in blocks:
            file.write(block.astype(kind).tobytes())


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder that appears complete or not at all, even if the process is killed or another one writes it."""
    fresh = folder.parent / f".{folder.name}-{os.urandom(8).hex()}"
    fresh.mkdir(parents=True)  # one of tempfile would be closed to others who use the cache
    try:
        yield fresh
        with contextlib.suppress(OSError):  # another process was first: its copy is as good
            fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _map(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise OSError(f"expected decoded data in {path}, got {error}; delete {path.parent} and start again") from error
