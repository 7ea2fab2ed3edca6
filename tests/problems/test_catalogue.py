import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen

from ibo_jax.outcomes import Outcome
from ibo_jax.problems import Problem, catalogue, describe, names, problem
from ibo_jax.problems.images import FIDELITIES, KINDS, build
from ibo_jax.problems.settings import SCALES, SETTINGS
from ibo_jax.problems.training import PRESAMPLE_SHARE, training_problem
from ibo_jax.space import PRESAMPLE_RATIO, Categorical, Float, Integer, SearchSpace
from ibo_jax.training import networks, trainer
from ibo_jax.training.datasets import load, split_arrays
from ibo_jax.types import PROTOCOLS

SHAPES = {"digits": (8, 8, 1), "mnist": (28, 28, 1), "cifar10": (32, 32, 3), "cifar100": (32, 32, 3)}
CLASSES = {"digits": 10, "mnist": 10, "cifar10": 10, "cifar100": 100}


@pytest.fixture
def generated(monkeypatch):
    """Data of the right shape for problems whose images are not embedded; the rest is the real path."""

    def load_generated(source, *, valid_size=None, normalise, split=0):
        if source == "digits":
            return load(source, valid_size=valid_size, normalise=normalise, split=split)
        generator, classes = np.random.default_rng(0), CLASSES[source]
        inputs = generator.integers(0, 256, (4800, *SHAPES[source])).astype(np.uint8)
        data = split_arrays(inputs, np.arange(4800) % classes, valid_fraction=0.1, test=0.1, num_classes=classes)
        stand_in = {"valid_inputs": data.test_inputs, "valid_labels": data.test_labels} if valid_size == 0 else {}
        return data._replace(name=source, **stand_in)

    monkeypatch.setattr("ibo_jax.problems.images.load", load_generated)


def test_listing_and_describing_load_neither_data_nor_networks():
    program = (
        "import sys, ibo_jax.problems as p; [p.describe(n, s) for n in p.names() for s in ('smoke', 'cpu', 'paper')];"
        "print({'flax', 'optax', 'sklearn', 'tensorflow_datasets', 'optuna'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_name_has_settings_summary_and_data():
    assert set(SETTINGS) == set(KINDS) == set(catalogue.SUMMARIES) < set(names())
    assert all(set(SCALES) <= set(SETTINGS[name]) for name in SETTINGS)
    assert all(setting.epochs >= 2 for scales in SETTINGS.values() for setting in scales.values())  # can be pruned
    assert isinstance(problem("branin"), Problem)
    assert describe("branin")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", list(SETTINGS))
def test_every_problem_passes_its_own_checks_at_every_scale(name, protocol, generated, monkeypatch):
    monkeypatch.setattr("ibo_jax.problems.training.check_task", lambda *arguments: None)  # shapes: the next tests
    for scale in SETTINGS[name]:
        made = build(name, scale, protocol, 0, "")
        assert made.fidelity == FIDELITIES[protocol]
        assert (made.evaluations, made.initial) == (SETTINGS[name][scale].evaluations, SETTINGS[name][scale].initial)
        assert 0.5 < made.guess < 1
        assert 0 < made.floor < 0.005


@pytest.mark.parametrize(
    "name",
    ["digits-mlp", "mnist-fcn", "mnist-dropout", "cifar10-cnn", "cifar10-resnet", "cifar10-alexnet",
     pytest.param("cifar100-resnet", marks=pytest.mark.slow)],  # the network of cifar10-resnet with more outputs
)  # fmt: skip
def test_every_problem_trains_at_the_smallest_scale(name, generated):
    made = build(name, "smoke", "default", 0, "")
    center = made.space.decode(np.full(made.space.dimension, 0.5))
    outcome = made.evaluate(0, center, 2)
    assert outcome.state in ("ok", "diverged")
    assert 0 <= outcome.error <= 1
    assert outcome.cost_work > 0


@pytest.mark.parametrize("name", list(SETTINGS))
def test_every_problem_of_published_size_passes_its_checks(name, generated):
    assert build(name, "paper", "default", 0, "").report is not None


def test_the_paper_spaces_and_sizes_are_the_published_ones():
    fcn, cnn, resnet = (SETTINGS[name]["paper"] for name in ("mnist-fcn", "cifar10-cnn", "cifar100-resnet"))
    assert fcn.space == {
        "dropout": Float(0, 0.5), "units": Integer(16, 256, True), "batch_size": Integer(8, 256, True),
        "layers": Integer(1, 5), "learning_rate": Float(1e-7, 0.1, True), "decay": Float(1e-7, 1e-3, True),
    }  # fmt: skip
    assert cnn.space == {
        "batch_size": Integer(32, 512), "learning_rate": Float(1e-7, 0.1), "decay": Float(1e-7, 1e-3),
        "l2": Float(1e-7, 1e-3), "filters": Integer(128, 256), "units": Integer(256, 512),
    }  # fmt: skip
    assert resnet.space == {
        "learning_rate": Float(1e-6, 1, True), "drop_factor": Float(1e-4, 1, True),
        "l2": Float(1e-6, 1, True), "momentum": Float(0.1, 0.999),
    }  # fmt: skip
    assert (fcn.epochs, cnn.epochs, resnet.epochs) == (50, 50, 200)
    assert resnet.fixed == {"depth": 28, "widen": 2, "batch_size": 128, "drop_epochs": 40}


def test_the_scripts_protocol_is_literal(generated, monkeypatch):
    monkeypatch.setattr("ibo_jax.problems.training.check_task", lambda *arguments: None)
    space = build("mnist-fcn", "paper", "scripts", 0, "").space.dimensions
    assert space["layers"] == Integer(1, 4)
    assert space["units"] == Integer(16, 255, True)
    assert space["decay"] == Float(1.0000001, 1.001, True)
    seen = {}

    def capture(name, space, data, **functions):
        seen.update(data=data)
        return problem("branin")

    monkeypatch.setattr("ibo_jax.problems.images.training_problem", capture)
    build("digits-mlp", "paper", "scripts", 0, "")
    assert seen["data"].valid_is_test
    np.testing.assert_array_equal(seen["data"].valid_inputs, seen["data"].test_inputs)
    assert len(seen["data"].train_labels) == 1397


def test_the_network_sees_its_hyperparameters(generated, monkeypatch):
    captured = {}

    def capture(name, space, data, **functions):
        captured.update(functions)
        return problem("branin")

    monkeypatch.setattr("ibo_jax.problems.images.training_problem", capture)
    build("cifar10-cnn", "cpu", "default", 0, "")
    h = {"log2_batch_size": 6, "log2_filters": 4, "log2_units": 7, "l2": 0.5, "learning_rate": 0.1, "decay": 0.0}
    module = captured["network"](h)
    assert (module.filters, module.units, module.classes, captured["batch_size"](h)) == (16, 128, 10, 64)
    params = {"conv_0": {"kernel": jnp.ones(3)}, "hidden": {"kernel": jnp.ones(4)}, "output": {"kernel": jnp.ones(9)}}
    assert captured["penalty"](params, h) == 3.5
    build("cifar100-resnet", "paper", "default", 0, "")
    h = {"learning_rate": 1.0, "drop_factor": 0.1, "l2": 0.5, "momentum": 0.5}
    module = captured["network"](h)
    assert (module.depth, module.widen, module.classes, captured["batch_size"](h)) == (28, 2, 100, 128)
    assert captured["penalty"]({"projection": {"kernel": jnp.ones(3)}, "conv": {"kernel": jnp.ones(2)}}, h) == 1.0
    optimizer = captured["optimizer"](h, 10)
    weights = jnp.zeros(1)
    state = optimizer.init(weights)
    steps = []
    for _ in range(392):
        update, state = optimizer.update(jnp.ones(1), state, weights)
        steps.append(-float(update[0]))
    assert abs(steps[1] - 1.5) < 1e-6  # momentum
    assert abs(steps[389] - 2.0) < 1e-3
    assert steps[391] < 1.0  # dropped at epoch 39


def test_the_presample_share_ends_at_the_batch_and_at_the_whole_training_set(monkeypatch):
    data, seen = load("digits"), []

    def record(seed, task, hyperparameters, ratio, data, **options):
        seen.append(ratio)
        return Outcome("ok", 0.5)

    monkeypatch.setattr(trainer, "train", record)
    made = small_problem(data=data, fidelity=PRESAMPLE_SHARE)
    for s in (0.0, 0.5, 1.0):
        made.evaluate(0, {"learning_rate": 1e-3, "batch_size": 10}, s)
    assert seen == [1.0, 10.0, 100.0]  # B = 10 (1000 / 10)^s


def small_problem(**changes):
    arguments = {
        "space": SearchSpace({"learning_rate": Float(1e-4, 1e-1, log=True), "batch_size": Integer(8, 64)}),
        "data": load("digits"),
        "network": lambda h: networks.MLP(10, units=16, layers=1),
        "optimizer": lambda h, steps_per_epoch: optax.adam(h["learning_rate"]),
        "epochs": 3,
    } | changes
    return training_problem("small", arguments.pop("space"), arguments.pop("data"), **arguments)


def test_a_problem_of_ones_own_trains_and_reports():
    class Mine(linen.Module):
        width: int
        kind: str

        @linen.compact
        def __call__(self, inputs, train):
            x = getattr(linen, self.kind)(linen.Dense(self.width)(inputs.reshape(len(inputs), -1)))
            return linen.Dense(10)(linen.Dropout(0.1, deterministic=not train)(x))

    space = {"width": Integer(16, 32), "kind": Categorical(("relu", "tanh")), "learning_rate": Float(1e-3, 1e-2, True)}
    made = small_problem(space=SearchSpace(space), network=lambda h: Mine(h["width"], h["kind"]), epochs=10)
    hyperparameters = {"width": 32, "kind": "relu", "learning_rate": 1e-2}
    outcome, report = made.evaluate(1, hyperparameters, 3), made.report(1, hyperparameters)
    assert outcome.state == "ok"
    assert outcome.error < 0.15
    assert report.test_error < 0.15
    assert made.fidelity == PRESAMPLE_RATIO
    assert made.floor == 0.5 / 397
    assert 0.85 < made.guess < 0.9


def test_a_diverged_training_counts_as_guessing():
    made = small_problem(optimizer=lambda h, steps: optax.sgd(1e20 * h["learning_rate"]))
    outcome = made.evaluate(0, {"learning_rate": 0.1, "batch_size": 32}, 1)
    assert outcome.state == "diverged"
    assert outcome.error == made.guess


def test_digits_are_learnt_at_the_scale_of_two_cores():
    made = problem("digits-mlp")
    h = {"dropout": 0.1, "log2_units": 7, "log2_batch_size": 5, "layers": 2, "learning_rate": 2e-3, "decay": 1e-5}
    outcome = made.evaluate(0, h, 1)
    assert outcome.error < 0.05
    assert made.report(0, h).test_error < 0.05
    repeated = made.evaluate(0, h, 1)
    assert repeated.error == outcome.error
    assert repeated.compile_seconds < 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": lambda h: networks.MLP(9)}, "10 classes"),
        ({"network": lambda h: networks.MLP(10, units=h["width"])}, "'width'"),
        ({"network": lambda h: linen.Dense(10 + int(h["learning_rate"]))}, "it Integer, or"),
        ({"network": lambda h: networks.MLP(10, units=4 if h["learning_rate"] > 0.1 else 8)}, "it Integer, or"),
        ({"network": lambda h: networks.CNN(10)}, "at least 3 x 3"),
        ({"optimizer": lambda h, steps: optax.adam(h["lr"])}, "'lr'"),
        ({"batch_size": lambda h: 500}, "training examples, got 500 and 3000"),
        ({"batch_size": lambda h: 0}, "got 0"),
        ({"fidelity": PRESAMPLE_RATIO._replace(high=20)}, "got 64 and 1280"),
        ({"fidelity": PRESAMPLE_RATIO._replace(low=0)}, "1 <= low"),
        ({"fidelity": PRESAMPLE_RATIO._replace(name="B")}, "got 'B'"),
        ({"penalty": lambda params, h: params["output"]["bias"]}, "one number"),
        ({"penalty": lambda params, h: h["l2"]}, "'l2'"),
        ({"epochs": 0}, "epoch"),
        ({"data": load("digits")._replace(num_classes=5)}, r"labels in 0\.\.4"),
        ({"data": load("digits")._replace(train_labels=np.zeros(3, np.int32))}, "as many labels"),
        ({"data": load("digits")._replace(valid_inputs=np.full((397, 8, 8, 1), np.nan, np.float32))}, "NaN"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(changes, message, monkeypatch):
    monkeypatch.setattr(trainer, "train", lambda *arguments, **options: pytest.fail("a training began"))
    with pytest.raises(ValueError, match=message):
        small_problem(**changes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "mnist-fnc"}, "did you mean 'mnist-fcn'"),
        ({"name": "?"}, "ibo-jax problems"),
        ({"name": "digits-mlp", "scale": "huge"}, "'huge'"),
        ({"name": "digits-mlp", "protocol": "mine"}, "'mine'"),
        ({"name": "mnist-fcn", "split": 1}, "split=0"),
    ],
)
def test_unknown_names_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        problem(**arguments)


def test_a_new_rate_traces_nothing_anew():
    traces = []

    def network(h):
        traces.append(h["learning_rate"])
        return networks.MLP(10, units=8, layers=1)

    made = small_problem(network=network, epochs=1)
    made.evaluate(0, {"learning_rate": 1e-3, "batch_size": 32}, 1)
    count = len(traces)
    made.evaluate(1, {"learning_rate": 1e-2, "batch_size": 32}, 1)
    assert len(traces) == count
