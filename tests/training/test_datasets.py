import errno
import inspect
import io
import json
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from ibo_jax.training import image_files
from ibo_jax.training.datasets import check, fingerprint, load, merged, split_arrays, take
from ibo_jax.training.steps import Examples


class Records:
    """An array-backed stand-in for a TFDS source of CIFAR-100; record k has label k % 100 and that as first pixel."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        image = np.random.default_rng(index).integers(0, 256, (32, 32, 3)).astype(np.uint8)
        image[0, 0, 0] = index % 100
        return {"image": image, "label": index % 100, "coarse_label": 0, "id": b""}

    def __getitems__(self, indices):
        return [self[index] for index in indices]


@pytest.fixture
def cifar100(monkeypatch, tmp_path):
    monkeypatch.setenv("IBO_JAX_CACHE", str(tmp_path / "cache"))
    counts = {"train": 2300, "test": 120}
    monkeypatch.setattr(image_files, "open_source", lambda name, part, download: Records(counts[part]))
    return tmp_path / "cache" / "cifar100"


def test_digits_are_split_by_seed_without_overlap():
    parts = [load("digits", split=split) for split in (0, 0, 1)]
    for data in parts:
        assert [len(data.train_labels), len(data.valid_labels), len(data.test_labels)] == [1000, 397, 400]
        check(data)
    np.testing.assert_array_equal(parts[0].train_inputs, parts[1].train_inputs)
    assert not np.array_equal(parts[0].test_inputs, parts[2].test_inputs)
    data = parts[0]
    rows = np.concatenate([data.train_inputs, data.valid_inputs, data.test_inputs]).reshape(1797, -1)
    from sklearn.datasets import load_digits

    np.testing.assert_array_equal(np.sort(rows, 0), np.sort(load_digits().data, 0))


def test_images_are_decoded_once_in_order_and_mapped(cifar100):
    data = load("cifar100", valid_size=300)
    assert [len(data.train_labels), len(data.valid_labels), len(data.test_labels)] == [2000, 300, 120]
    assert (data.train_inputs.shape[1:], data.train_inputs.dtype, data.num_classes) == ((32, 32, 3), np.uint8, 100)
    for inputs, labels in ((data.train_inputs, data.train_labels), (data.test_inputs, data.test_labels)):
        np.testing.assert_array_equal(inputs[:, 0, 0, 0], labels)
    np.testing.assert_array_equal(data.valid_labels, np.arange(2000, 2300) % 100)
    image_files.open_source = None  # a second load may not decode (undone by the fixture)
    assert isinstance(load("cifar100", valid_size=300).train_inputs.base, np.memmap)
    assert [path.name for path in cifar100.parent.iterdir()] == ["cifar100"]


def test_moments_are_those_of_the_training_part_alone(cifar100):
    data = load("cifar100", valid_size=300)
    pixels = np.asarray(data.train_inputs, np.float64)
    np.testing.assert_allclose(data.mean, pixels.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(data.scale, pixels.std((0, 1, 2)), rtol=1e-6)
    everything = np.concatenate([data.train_inputs, data.valid_inputs]).astype(np.float64)
    assert np.abs(data.mean - everything.mean((0, 1, 2))).max() > 1e-4


def test_unit_inputs_end_at_zero_and_one(cifar100):
    for name, top in (("cifar100", 255), ("digits", 16)):
        data = load(name, valid_size=300, normalise="unit")
        assert (data.mean, data.scale, data.train_inputs.max()) == (0, top, top)


def test_an_interrupted_decoding_leaves_nothing_behind(cifar100, monkeypatch):
    class Torn(Records):
        def __getitems__(self, indices):
            if indices[0] >= 1000:
                raise KeyboardInterrupt
            return super().__getitems__(indices)

    monkeypatch.setattr(image_files, "open_source", lambda name, part, download: Torn(2300))
    with pytest.raises(KeyboardInterrupt):
        load("cifar100")
    assert not list(cifar100.parent.iterdir())


def test_a_full_disk_is_an_error_and_leaves_nothing_behind(cifar100, monkeypatch):
    class Full(io.BytesIO):
        def write(self, data):
            if self.tell() > 1000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    monkeypatch.setattr(image_files.Path, "open", lambda path, mode: Full())
    with pytest.raises(OSError, match="No space left"):
        load("cifar100")
    assert not list(cifar100.parent.iterdir())


def test_decoded_data_can_be_read_by_all_who_share_the_cache(cifar100):
    load("cifar100", valid_size=300)
    assert cifar100.stat().st_mode == cifar100.parent.stat().st_mode


@pytest.mark.parametrize("left", [500, 0])
def test_a_damaged_cache_says_what_to_delete(left, cifar100):
    load("cifar100", valid_size=300)
    path = cifar100 / "train_inputs.npy"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(OSError, match=f"delete {cifar100}"):
        load("cifar100", valid_size=300)


def test_missing_data_names_variable_and_command(monkeypatch, tmp_path):
    monkeypatch.setenv("IBO_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"(?s)TFDS_DATA_DIR.*load\(\"mnist\", download=True\)"):
        load("mnist")


def test_a_copy_in_another_form_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("IBO_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    folder = tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    about = {"name": "mnist", "version": "3.0.1", "fileFormat": "tfrecord", "splits": []}
    (folder / "dataset_info.json").write_text(json.dumps(about))
    with pytest.raises(FileNotFoundError, match=r"(?s)ArrayRecord form.*TFRECORD"):
        load("mnist")


def test_a_fault_inside_tfds_is_not_taken_for_missing_data(monkeypatch, tmp_path):
    import tensorflow_datasets

    def broken(*_, **__):
        raise AttributeError("broken installation")

    monkeypatch.setenv("IBO_JAX_CACHE", str(tmp_path))
    monkeypatch.setattr(tensorflow_datasets, "builder", broken)
    with pytest.raises(AttributeError, match="broken installation"):
        load("mnist")


def test_zca_whitens():
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(12, 12))
    images = np.clip(128 + 12 * generator.normal(size=(1500, 12)) @ mixing, 0, 255).astype(np.uint8)
    images = images.reshape(1500, 2, 2, 3)
    mean, matrix = image_files.zca(images, 255, epsilon=0.0)
    white = (images.reshape(1500, -1) / 255 - mean) @ matrix
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(12), atol=1e-3)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-3 * np.abs(matrix).max())


def test_whitened_images_are_fitted_on_the_training_part(cifar100, monkeypatch):
    seen = []
    monkeypatch.setattr(
        image_files,
        "zca",
        lambda inputs, top: (seen.append(len(inputs)), (np.float32(0.5), np.eye(3072, dtype=np.float32)))[1],
    )
    raw, data = load("cifar100", valid_size=300), load("cifar100", valid_size=300, normalise="zca")
    assert seen == [2000]
    assert data.train_inputs.dtype == np.float32
    np.testing.assert_allclose(data.test_inputs, raw.test_inputs / 255 - 0.5, atol=1e-6)
    assert data.scale == data.train_inputs.max()


def test_whitened_digits_are_those_of_their_split(monkeypatch, tmp_path):
    monkeypatch.setenv("IBO_JAX_CACHE", str(tmp_path))
    for split in (0, 1):
        raw, data = load("digits", split=split), load("digits", split=split, normalise="zca")
        pixels = raw.train_inputs.reshape(1000, -1) / 16
        pixels = pixels - pixels.mean(0)
        variances, axes = np.linalg.eigh(np.cov(pixels.T, bias=True))
        expected = pixels @ (axes / np.sqrt(np.maximum(variances, 0) + 1e-6)) @ axes.T
        np.testing.assert_allclose(data.train_inputs.reshape(1000, -1), expected, atol=1e-2)
        np.testing.assert_array_equal(data.train_labels, raw.train_labels)


def test_merged_and_take_keep_the_test_set_apart():
    data = load("digits")
    both = merged(data)
    np.testing.assert_array_equal(both.train_inputs[1000:], data.valid_inputs)
    np.testing.assert_array_equal(both.train_labels, np.concatenate([data.train_labels, data.valid_labels]))
    few = take(data, train=10, valid=5, test=3)
    assert [len(few.train_labels), len(few.valid_labels), len(few.test_labels)] == [10, 5, 3]
    scripts = load("digits", valid_size=0)
    assert len(scripts.train_labels) == 1397
    np.testing.assert_array_equal(scripts.valid_labels, scripts.test_labels)
    copied = scripts._replace(valid_inputs=scripts.valid_inputs.copy())
    for stand_in in (scripts, copied, take(scripts, train=100, valid=20), take(scripts, train=100, valid=20, test=20)):
        assert len(merged(stand_in).train_labels) == len(stand_in.train_labels)  # the test set must not leak in


def test_split_arrays_of_a_user():
    inputs, labels = np.random.default_rng(0).normal(5, 2, (200, 7)), np.arange(200) % 4
    inputs[:, 3] = 1.0
    data = split_arrays(inputs, labels, valid_fraction=0.25, test=0.1, name="mine")
    check(data)
    assert [len(data.train_labels), len(data.valid_labels), len(data.test_labels)] == [130, 50, 20]
    assert (data.train_inputs.dtype, data.train_labels.dtype, data.num_classes) == (np.float32, np.int32, 4)
    np.testing.assert_allclose(data.mean, data.train_inputs.mean(0), rtol=1e-5)
    assert data.scale[3] == 1
    whole = np.concatenate([data.train_inputs, data.valid_inputs, data.test_inputs])
    np.testing.assert_array_equal(np.sort(whole[:, 0]), np.sort(inputs[:, 0].astype(np.float32)))
    own = split_arrays(inputs, labels, test=(inputs[:9], labels[:9]), num_classes=6)
    assert (len(own.test_labels), own.num_classes, len(own.train_labels)) == (9, 6, 160)
    images = split_arrays(np.zeros((20, 4, 4, 3), np.uint8), np.arange(20) % 2)
    assert (images.train_inputs.dtype, images.mean.shape) == (np.uint8, (3,))


def test_splitting_takes_little_more_memory_than_the_parts():
    inputs = np.random.default_rng(0).normal(3, 2, size=(40_000, 100)).astype(np.float32)
    tracemalloc.start()
    data = split_arrays(inputs, np.arange(40_000) % 3)
    peak = tracemalloc.get_traced_memory()[1] / inputs.nbytes
    tracemalloc.stop()
    assert peak < 2
    np.testing.assert_array_equal(data.mean, data.train_inputs.mean(0, dtype=np.float64).astype(np.float32))
    np.testing.assert_allclose(data.scale, data.train_inputs.std(0, dtype=np.float64), rtol=1e-6)


@pytest.mark.parametrize("kind", [float, bool, np.uint8])
def test_whole_labels_of_any_type_are_taken(kind):
    labels = np.arange(20) % 2
    one, other = (split_arrays(np.arange(60.0).reshape(20, 3), given) for given in (labels, labels.astype(kind)))
    np.testing.assert_array_equal(one.train_labels, other.train_labels)
    assert other.train_labels.dtype == np.int32


def test_fingerprints_tell_data_of_one_size_apart():
    inputs, labels = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 3
    given = ((inputs, labels), (-inputs, labels), (2 * inputs, labels), (inputs, (labels + 1) % 3))
    assert len({fingerprint(split_arrays(*each)) for each in given}) == len(given)
    assert fingerprint(split_arrays(inputs, labels)) == fingerprint(split_arrays(inputs * (1 + 1e-9), labels))


def test_means_and_scales_are_numbers_or_arrays_of_any_shape_that_fits():
    data = split_arrays(np.random.default_rng(0).normal(size=(40, 2, 5, 3)), np.arange(40) % 3)
    for mean, scale in ((0.5, 2.0), (np.full(3, 0.5), 2), (np.full((1, 1, 1, 3), 0.5), np.full((2, 5, 3), 2.0))):
        given = data._replace(mean=mean, scale=scale)
        check(given)
        seen = Examples.of(given, "valid")
        np.testing.assert_allclose(seen.normalised(seen.inputs), (data.valid_inputs - 0.5) / 2, rtol=1e-6)
    for wrong in (np.ones(5), np.ones((40, 1, 1, 1))):
        with pytest.raises(ValueError, match="means and scales for examples of shape"):
            check(data._replace(mean=wrong))


FINE = np.ones((20, 3))


@pytest.mark.parametrize(
    ("inputs", "labels", "options", "message"),
    [
        (np.where(np.arange(60).reshape(20, 3) == 7, np.nan, 1.0), np.zeros(20, int), {}, "NaN or infinity"),
        (FINE * np.inf, np.zeros(20, int), {}, "NaN or infinity"),
        (FINE, np.zeros(19, int), {}, "got 19 and 20"),
        (FINE[:0], np.zeros(0, int), {}, "at least one example"),
        (FINE, np.full(20, 0.5), {}, "one class an example.*regression is not supported"),
        (FINE, np.full(20, "a"), {}, "return_inverse"),
        (FINE, np.zeros((20, 1), int), {}, "flatten"),
        (FINE, np.zeros(20, int), {}, "at least two classes, got 1"),
        (FINE, np.eye(20, dtype=int), {}, "argmax"),
        (FINE, np.arange(20) - 1, {}, "got -1..18"),
        (FINE, np.arange(20), {"num_classes": 5}, r"0\.\.4, got 0\.\.19"),
        (FINE, np.zeros(20, int), {"valid_fraction": 0.0}, "shares between 0 and 1"),
        (FINE, np.zeros(20, int), {"valid_fraction": 0.9}, "every part"),
        (FINE, np.zeros(20, int), {"test": (FINE, np.full(20, 7)), "num_classes": 2}, "test data"),
    ],
)
def test_unusable_arrays_are_refused_by_name(inputs, labels, options, message):
    with pytest.raises(ValueError, match=message):
        split_arrays(inputs, labels, **options)


def test_unusable_names_and_sizes_are_refused():
    with pytest.raises(ValueError, match="'imagenet'"):
        load("imagenet")
    with pytest.raises(ValueError, match="split=0"):
        load("mnist", split=3)
    with pytest.raises(ValueError, match="validation size"):
        load("digits", valid_size=1397)
    with pytest.raises(ValueError, match=r"'standard', 'unit', 'zca'.*got 'Standard'"):
        inspect.unwrap(load)("digits", normalise="Standard")
    data = load("digits")
    with pytest.raises(ValueError, match="expected test examples of shape"):
        check(data._replace(test_inputs=data.test_inputs[:, :4]))


def test_loading_needs_neither_jax_nor_tensorflow():
    program = (
        "import sys, ibo_jax.training.datasets as d; d.load('digits'); print({'jax', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["mnist", pytest.param("cifar10", marks=pytest.mark.slow)])
def test_real_images_are_decoded_once(name, monkeypatch):
    try:
        load(name)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(image_files, "open_source", None)
    data = load(name)
    check(data)
    assert len(data.train_labels) + len(data.valid_labels) == {"mnist": 60_000, "cifar10": 50_000}[name]
    counts = np.bincount(np.concatenate([data.train_labels, data.valid_labels]))
    expected = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949] if name == "mnist" else [5000] * 10
    assert counts.tolist() == expected
    if name == "mnist":
        pixels = np.concatenate([data.train_inputs, data.valid_inputs]).mean(dtype=np.float64)
        assert abs(pixels - 33.3184) < 1e-3  # the published value
