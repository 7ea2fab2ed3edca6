"""What people get wrong, and what they are told, before anything is trained: by Python and by the command."""

import sqlite3
from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optuna
import pytest
from flax import linen
from scipy.sparse import csr_matrix

from ibo_jax import (
    Categorical,
    Fidelity,
    Float,
    IBOSampler,
    Integer,
    Outcome,
    Problem,
    SearchSpace,
    cli,
    importance,
    split_arrays,
    training_problem,
    tune,
)
from ibo_jax.acquisition.propose import propose
from ibo_jax.bilevel import hypernetwork, self_tuning, value_function
from ibo_jax.methods import ibo
from ibo_jax.methods.initial import initial_design
from ibo_jax.observations import append, empty
from ibo_jax.problems import problem
from ibo_jax.problems.synthetic import SYNTHETIC
from ibo_jax.problems.text import text_problem
from ibo_jax.study import descent
from ibo_jax.study.checks import SETTINGS
from ibo_jax.study.search import prepare
from ibo_jax.training.datasets import load

pytestmark = pytest.mark.usefixtures("undrawn")
FORRESTER = SYNTHETIC["forrester"]
LINE = SearchSpace({"learning_rate": Float(1e-4, 1e-1, log=True)})
RNG = np.random.default_rng(0)
INPUTS, LABELS = RNG.normal(size=(60, 4)).astype(np.float32), np.arange(60) % 3


def untouched(*_):
    raise AssertionError("something was evaluated")


def tuned(method="random", problem=FORRESTER, **options):
    problem = Problem(**{**vars(problem), "evaluate": untouched}) if isinstance(problem, Problem) else problem
    return tune(problem, method, **{"evaluations": 3, "progress": False, **options})


def problem_like(**changes):
    return Problem(**{**vars(FORRESTER), **changes})


def trained(inputs=INPUTS, labels=LABELS, outputs=3, space=LINE, **options):
    data = options.pop("data", None) or split_arrays(inputs, labels)
    return training_problem(
        "mine", space, data,
        **{"network": lambda h: linen.Dense(outputs), "epochs": 1,
            "batch_size": lambda h: 4, "optimizer": lambda h, _: optax.sgd(h["learning_rate"]), **options},
    )  # fmt: skip


def spoiled(index=0, value=np.nan):
    inputs = INPUTS.copy()
    inputs[index] = value
    return inputs


def sampled(space, objective=lambda trial: 0.0, directions=("minimize",), trials=2, **options):
    study = optuna.create_study(directions=list(directions), sampler=IBOSampler(method="random", seed=0, **options))

    def suggest_all(trial):
        for name, distribution in space.items():
            trial._suggest(name, distribution)
        return objective(trial)

    study.optimize(suggest_all, n_trials=trials)


X = optuna.distributions.FloatDistribution(0.0, 1.0)
SEEN = append(empty(1), np.array([0.5]), 1.0)

BAD_CALLS = {
    "empty space": (lambda: SearchSpace({}), "at least one dimension, got none"),
    "low above high": (lambda: SearchSpace({"x": Float(1.0, 0.1)}), "x: expected low < high"),
    "low equals high": (lambda: SearchSpace({"x": Integer(3, 3)}), "x: expected low < high"),
    "log over zero": (lambda: SearchSpace({"x": Float(0.0, 1.0, log=True)}), "x: expected low > 0 on a log scale"),
    "infinite bound": (lambda: SearchSpace({"x": Float(0.0, np.inf)}), "x: expected finite bounds"),
    "NaN bound": (lambda: SearchSpace({"x": Float(np.nan, 1.0)}), "x: expected finite bounds"),
    "bounds too far apart": (lambda: SearchSpace({"x": Float(-1e308, 1e308)}), "x: expected bounds less than 1.8e308"),
    "too few coordinates": (lambda: LINE.decode([]), r"a point of 1 coordinates, got shape \(0,\)"),
    "too many coordinates": (lambda: LINE.decode([0.5, 0.5]), r"a point of 1 coordinates, got shape \(2,\)"),
    "one choice": (lambda: SearchSpace({"x": Categorical(("a",))}), "x: expected at least two choices"),
    "a choice twice": (lambda: SearchSpace({"x": Categorical(("a", "a", "b"))}), "x: .* two choices, each once"),
    "a choice that is no number": (
        lambda: SearchSpace({"x": Categorical((1.0, float("nan")))}),
        "x: expected no NaN or infinity among the choices",
    ),
    "an infinite choice": (lambda: SearchSpace({"x": Categorical((1.0, np.inf))}), "x: expected no NaN or infinity"),
    "a choice of NumPy that is no number": (
        lambda: SearchSpace({"x": Categorical((1, np.float32("nan")))}),
        "x: expected no NaN or infinity",
    ),
    "a string of choices": (lambda: SearchSpace({"x": Categorical("relu")}), "x: expected a tuple of strings"),
    "a list as choice": (lambda: SearchSpace({"x": Categorical(([1], [2]))}), "x: expected a tuple of strings or num"),
    "unknown choice": (lambda: SearchSpace({"x": Categorical(("a", "b"))}).encode({"x": "c"}), "expected one of"),
    "whole number of halves": (lambda: SearchSpace({"x": Integer(0.5, 3)}), r"x: expected whole numbers .* \[0.5, 3\]"),
    "bounds that are words": (lambda: SearchSpace({"x": Float("0", 1)}), "x: expected numbers as bounds"),
    "name that is no string": (lambda: SearchSpace({1: Float(0, 1)}), "names of hyperparameters that are strings"),
    "bounds not wrapped": (lambda: SearchSpace({"x": (0, 1)}), "x: expected Float, Integer or Categorical"),
    "missing hyperparameter": (lambda: LINE.encode({}), r"none for \['learning_rate'\]"),
    "unknown problem": (lambda: tuned(problem="mnits-fcn"), "got 'mnits-fcn'; did you mean 'mnist-fcn'"),
    "no problem": (lambda: tuned(problem=LINE), "expected a Problem or the name of one"),
    "a space that is none": (lambda: tuned(problem=problem_like(space={"x": X})), "forrester: expected a SearchSpace"),
    "no fidelity": (lambda: tuned(problem=problem_like(fidelity=None)), r"it is Fidelity\('s', 1, 1\)"),
    "unknown method": (lambda: tuned("ibbo"), r"expected a method among .*got 'ibbo'"),
    "unknown protocol": (lambda: tuned(protocol="papers"), r"expected a protocol among .*got 'papers'"),
    "unknown cost": (lambda: tuned(cost="money"), r"expected a cost among .*got 'money'"),
    "budget of zero": (lambda: tuned(evaluations=0), "whole number of evaluations >= 1, got 0"),
    "negative budget": (lambda: tuned(evaluations=-5), "whole number of evaluations >= 1, got -5"),
    "zero seconds": (lambda: tuned(evaluations=None, seconds=0.0), "positive, finite number of seconds, got 0"),
    "NaN seconds": (lambda: tuned(seconds=float("nan")), "positive, finite number of seconds, got nan"),
    "negative seed": (lambda: tuned(seed=-1), "expected a seed in"),
    "unknown algorithm of a hypernetwork": (
        lambda: hypernetwork.tuner(problem("digits-l2", scale="smoke"), "globl"),
        "expected an algorithm among .* got 'globl'",
    ),
    "samples of a hypernetwork": (
        lambda: hypernetwork.tuner(problem("digits-l2", scale="smoke"), "local", samples=0),
        "at least one sample and one epoch, got",
    ),
    "epochs of a self-tuning network": (
        lambda: self_tuning.tuner(problem("digits-dropout", scale="smoke"), epochs=0),
        "at least one epoch, got 0",
    ),
    "settings of a self-tuning network": (
        lambda: self_tuning.tuner(problem("digits-dropout", scale="smoke"), warmup=3),
        r"expected settings among .* got \['warmup'\]",
    ),
    "start of a self-tuning network": (
        lambda: self_tuning.tuner(problem("digits-dropout", scale="smoke"), start={"dropout_0": 0.1, "dropuot_1": 0.1}),
        r"got \['dropuot_1'\]; drop those",
    ),
    "start that is no number": (
        lambda: self_tuning.tuner(
            problem("digits-dropout", scale="smoke"), start={"dropout_0": 0.1, "dropout_1": np.nan}
        ),
        "expected finite hyperparameters",
    ),
    "a switch that does not exist": (lambda: trained(switch="always"), "expected a switch among .* got 'always'"),
    "a draw that does not exist": (lambda: trained(draw="uniform"), "expected a draw among .* got 'uniform'"),
    "a dict as space of a training": (lambda: trained(space={}), "mine: expected a SearchSpace, got"),
    "a module as network": (
        lambda: trained(network=linen.Dense(3)),
        "a function of the hyperparameters as `network`, got Dense",
    ),
    "an optimiser that is made already": (
        lambda: trained(optimizer=optax.adam(1e-3)),
        "a function of the hyperparameters as `optimizer`",
    ),
    "half an epoch": (lambda: trained(epochs=2.5), "a whole number, got 2.5"),
    "dropout in evaluation": (
        lambda: trained(network=lambda h: linen.Sequential([linen.Dropout(0.5, deterministic=False), linen.Dense(3)])),
        "draws random numbers in training only",
    ),
    "control flow of a bound that is whole": (
        lambda: trained(
            space=SearchSpace({"learning_rate": Float(0, 1)}),
            network=lambda h: linen.Dense(3 if h["learning_rate"] > 0.5 else 4),
        ),
        "to be used as traced numbers only",
    ),
    "control flow of a schedule": (
        lambda: trained(
            optimizer=lambda h, n: optax.adam(optax.warmup_cosine_decay_schedule(0.0, h["learning_rate"], n, 2 * n))
        ),
        "traced numbers only, got Python control flow .*, in warmup_cosine_decay_schedule",
    ),
    "an optimiser that asks for the loss": (
        lambda: trained(optimizer=lambda h, _: optax.lbfgs(h["learning_rate"])),
        "updates by gradients, its state and parameters alone, got TypeError: .* 'value'",
    ),
    "an optimiser of parameters of its own": (
        lambda: trained(optimizer=lambda h, _: optax.lookahead(optax.sgd(h["learning_rate"]), 3, 0.5)),
        "updates by gradients, its state and parameters alone, got AttributeError",
    ),
    "an optimiser that is none": (
        lambda: trained(optimizer=lambda h, _: h["learning_rate"]),
        "expected `optimizer` to return an Optax transformation, got",
    ),
    "a network of two outputs": (
        lambda: trained(network=lambda h: linen.Sequential([linen.Dense(3), lambda x: (x, x)])),
        r"a network that returns logits \(example, class_\), got tuple",
    ),
    "arrays in place of a data set": (
        lambda: trained(data=(INPUTS, LABELS)),
        "mine: expected a Dataset, got tuple; split_arrays makes one",
    ),
    "bounds in place of a fidelity": (lambda: trained(fidelity=(1, 6)), r"mine: expected a Fidelity, got \(1, 6\)"),
    "sparse inputs": (lambda: split_arrays(csr_matrix(INPUTS), LABELS), r"dense array, got csr_matrix; .*toarray\(\)"),
    "a scale of zero": (
        lambda: trained(data=split_arrays(INPUTS, LABELS)._replace(scale=np.zeros(4, np.float32))),
        "finite means and positive scales",
    ),
    "a share below zero": (lambda: split_arrays(INPUTS, LABELS, test=-0.5), "shares between 0 and 1"),
    "a text without units": (lambda: text_problem(__file__, units=0), "layers and a batch size from 1, got 64, 0"),
    "unknown acquisition": (
        lambda: ibo.suggest(jax.random.key(0), SEEN, acquisition="expected_improvment"),
        "expected an acquisition among",
    ),
    "unknown acquisition of a proposal": (
        lambda: propose(jax.random.key(0), SEEN, None, None, False, False, levels=None, acquisition="gain_per_cost"),
        "expected an acquisition among .* got 'gain_per_cost'",
    ),
    "nothing observed": (lambda: ibo.suggest(jax.random.key(0), empty(1)), "at least one finished observation"),
    "unknown design": (
        lambda: initial_design(jax.random.key(0), 3, 1, FORRESTER.fidelity, "sobol"),
        "expected a design among .* got 'sobol'",
    ),
    "point of another dimension": (lambda: append(empty(3), np.array([0.5]), 1.0), r"of shape \(3,\), got .* \(1,\)"),
    "unknown variant of the value function": (
        lambda: value_function.tuner(problem("digits-l2", scale="smoke"), variant="publishd"),
        "expected variant 'corrected' or 'published', got 'publishd'",
    ),
    "seed that is not whole": (lambda: tuned(seed=1.5), "a whole number, got 1.5"),
    "seed that is a word": (lambda: tuned(seed="1"), "a whole number, got '1'"),
    "no seed": (lambda: tuned(seed=None), "a whole number, got None"),
    "budget that is a word": (lambda: tuned(evaluations="3"), "whole number of evaluations >= 1, got '3'"),
    "seconds that are a word": (lambda: tuned(evaluations=None, seconds="3"), "finite number of seconds, got '3'"),
    "no method": (lambda: tuned(None), "expected a method among .*got None"),
    "problem that is none": (lambda: tuned(problem=42), "expected a Problem or the name of one, got 42"),
    "misspelt method": (lambda: tuned("iboo"), "got 'iboo'; did you mean 'ibo'"),
    "storage by address": (lambda: tuned(storage="sqlite:///study.db"), "expected a folder for the study"),
    "storage without a name": (lambda: tuned(storage=""), "expected a folder for the study, got ''"),
    "storage of one training by address": (
        lambda: tune(problem("digits-l2", scale="smoke"), "hypernet-local", storage="s3://runs", progress=False),
        "expected a folder for the study, got 's3://runs'",
    ),
    "B below b": (
        lambda: tuned(problem=problem_like(fidelity=Fidelity("presample_ratio", 0, 6, integer=True))),
        r"presample_ratio: expected whole levels from 1, got \[0, 6\]",
    ),
    "levels with fractions": (
        lambda: tuned(problem=problem_like(fidelity=Fidelity("s", 1.5, 6, integer=True))),
        r"s: expected whole levels from 1, got \[1.5, 6\]",
    ),
    "fidelity upside down": (
        lambda: tuned(problem=problem_like(fidelity=Fidelity("s", 1.0, 0.0))),
        r"s: expected finite low <= high, got \[1.0, 0.0\]",
    ),
    "fidelity named as a hyperparameter": (
        lambda: tuned(problem=problem_like(fidelity=Fidelity("x1", 0.0, 1.0))),
        "got 'x1', which is both",
    ),
    "unknown transform": (lambda: tuned(problem=problem_like(transform="sqrt")), "expected transform 'log' or"),
    "floor of zero": (lambda: tuned(problem=problem_like(floor=0.0)), "expected a floor > 0"),
    "no initial design": (lambda: tuned(problem=problem_like(initial=0)), "point of forrester, a whole number, got 0"),
    "half an initial point": (lambda: tuned(problem=problem_like(initial=2.5)), "a whole number, got 2.5; raise `init"),
    "a setup of a study's own names": (
        lambda: tuned(problem=problem_like(setup={"seed": 3, "fold": 1})),
        r"forrester: expected a setup with names of its own, got \['seed'\]",
    ),
    "more classes than outputs": (lambda: trained(outputs=2), "expected logits .* for the 3 classes"),
    "labels out of range": (
        lambda: split_arrays(INPUTS, LABELS, num_classes=2),
        r"expected labels in 0\.\.1, got 0\.\.2",
    ),
    "negative labels": (lambda: split_arrays(INPUTS, LABELS - 1), r"expected labels in 0.*got -1"),
    "labels that are no numbers": (lambda: split_arrays(INPUTS, LABELS + 0.5), "one class an example"),
    "one-hot labels": (lambda: split_arrays(INPUTS, np.eye(3, dtype=int)[LABELS]), "argmax"),
    "NaN in data": (lambda: split_arrays(spoiled(), LABELS), "expected finite inputs, got NaN or infinity"),
    "complex inputs": (
        lambda: split_arrays(INPUTS + 1j, LABELS),
        "the data: expected inputs that are real numbers, got complex",
    ),
    "dates as inputs": (
        lambda: split_arrays(INPUTS.astype("datetime64[s]"), LABELS),
        "real numbers, got datetime64.*encode them as numbers",
    ),
    "words as inputs": (lambda: split_arrays(INPUTS.astype(str), LABELS), "real numbers, got <U"),
    "words in a test part": (
        lambda: split_arrays(INPUTS, LABELS, test=(INPUTS.astype(str), LABELS)),
        "the test data: expected inputs that are real numbers, got <U",
    ),
    "complex inputs in a data set": (
        lambda: trained(data=split_arrays(INPUTS, LABELS)._replace(train_inputs=INPUTS[:36] + 1j)),
        "the train part: expected inputs that are real numbers, got complex",
    ),
    "an example without a label": (
        lambda: split_arrays(INPUTS, np.where(np.arange(60) == 7, np.nan, LABELS)),
        r"drop the examples without a label \(NaN\), 1 of them",
    ),
    "numbers to predict, one unknown": (
        lambda: split_arrays(INPUTS, np.where(np.arange(60) == 7, np.nan, LABELS + 0.5)),
        "regression is not supported",
    ),
    "masked inputs": (lambda: split_arrays(np.ma.masked_less(INPUTS, -1), LABELS), "inputs without masked values"),
    "masked labels": (lambda: split_arrays(INPUTS, np.ma.masked_equal(LABELS, 2)), "labels without masked values"),
    "inputs by name": (lambda: split_arrays({"a": INPUTS}, LABELS), r"arrays of inputs .*got shapes \(\) and \(60,\)"),
    "no labels": (lambda: split_arrays(INPUTS, None), r"arrays of inputs .*got shapes \(60, 4\) and \(\)"),
    "infinity in data": (lambda: split_arrays(spoiled(value=np.inf), LABELS), "expected finite inputs"),
    "lengths differ": (lambda: split_arrays(INPUTS, LABELS[:-1]), "as many labels as inputs, got 59 and 60"),
    "no data": (lambda: split_arrays(INPUTS[:0], LABELS[:0]), "at least one example"),
    "one class in validation": (
        lambda: trained(data=split_arrays(INPUTS, LABELS)._replace(valid_labels=np.ones(12, np.int32))),
        "several classes in the valid part, got 1 only",
    ),
    "means of other features": (
        lambda: trained(data=split_arrays(INPUTS, LABELS)._replace(mean=np.zeros(3))),
        r"means and scales for examples of shape \(4,\), got shapes \(3,\) and \(4,\)",
    ),
    "inputs of no features": (lambda: split_arrays(INPUTS[:, :0], LABELS), r"features along others, got .*\(60, 0\)"),
    "labels as if of places": (lambda: trained(INPUTS[:, :1], LABELS[:, None]), "each example has one label, flatten"),
    "labels in a column, of a score": (
        lambda: importance.loss(jnp.zeros((4, 3)), jnp.zeros((4, 1), int)),
        r"a label for each row of logits of shape \(4, 3\), got labels of shape \(4, 1\)",
    ),
    "scores of several places": (
        lambda: importance.resample(jax.random.key(0), jnp.ones((3, 2)), 3),
        r"a score for each of one or more examples, got shape \(3, 2\); take the mean",
    ),
    "no scores": (lambda: importance.tau(jnp.zeros(0)), r"a score for each of one or more examples, got shape \(0,\)"),
    "split below zero": (lambda: load("digits", split=-1), "expected a split from 0, got -1"),
    "inputs without features": (lambda: trained(inputs=INPUTS[:, 0]), "features along others, got inputs of shape"),
    "augmentation of an unknown hyperparameter": (
        lambda: trained(augment=lambda key, inputs, h: inputs * h["noise"]),
        "expected the space to have every hyperparameter that the functions read, got no 'noise'",
    ),
    "augmentation that loses features": (
        lambda: trained(augment=lambda key, inputs, h: inputs[:, :2]),
        r"keep the shape of an example, \(4,\), got \(2,\); it is called with one, as a batch of one",
    ),
    "batch larger than data": (lambda: trained(batch_size=lambda h: 1000), "lower `batch_size`, or its range"),
    "presample larger than data": (lambda: trained(batch_size=lambda h: 10), "or that of the fidelity"),
    "hyperparameter not in the space": (
        lambda: trained(batch_size=lambda h: h["batch"]),
        "every hyperparameter that the functions read, got no 'batch'",
    ),
    "sampler, negative seed": (lambda: IBOSampler(seed=-1), "expected a seed in"),
    "cost of a gradient-based tuner": (
        lambda: tune(problem("digits-l2", scale="smoke"), "stn", cost="money", progress=False),
        "expected a cost among",
    ),
    "sampler without initial design": (lambda: IBOSampler(initial=0), "at least one initial point"),
    "sampler of no evaluations": (lambda: IBOSampler(evaluations=0), "at least one evaluation"),
    "sampler, half an initial point": (lambda: IBOSampler(initial=2.5), "a whole number, got 2.5"),
    "sampler, half an evaluation": (lambda: IBOSampler(evaluations=2.5), "a whole number, got 2.5"),
    "sampler, evaluations that are a word": (lambda: IBOSampler(evaluations="9"), "a whole number, got '9'"),
    "sampler, seed that is a word": (lambda: IBOSampler(seed="0"), "a whole number, got '0'"),
    "sampler, fidelity that is no name": (
        lambda: IBOSampler(Fidelity("B", 1, 6)),
        r"the name of the parameter that is the fidelity, got Fidelity\(",
    ),
    "sampler, bounds not wrapped": (
        lambda: IBOSampler(space={"x": (0.0, 1.0)}),
        r"x: expected a distribution of Optuna, or Float, .*got \(0.0, 1.0\)",
    ),
    "sampler, no parameters": (lambda: IBOSampler(space={}), "expected parameters by name as `space`, got {}"),
    "sampler of unknown method": (lambda: IBOSampler(method="tpe"), "expected a method among"),
    "sampler, method of a training's data": (lambda: IBOSampler(method="fabolas"), "expected a method among"),
    "sampler, unknown transform": (lambda: IBOSampler(transform="Log"), "expected transform 'log' or 'identity'"),
    "sampler, floor of zero": (lambda: IBOSampler(transform="log", floor=0.0), "expected a floor > 0"),
    "sampler, fidelity missing in space": (
        lambda: IBOSampler("B", space={"x": X}),
        r"expected the fidelity 'B' among the parameters, got \['x'\]",
    ),
    "sampler, fidelity missing in study": (lambda: sampled({"x": X}, fidelity="B"), "expected the fidelity 'B' among"),
    "sampler, fidelity from zero": (
        lambda: sampled({"x": X, "B": optuna.distributions.IntDistribution(0, 6)}, fidelity="B"),
        "to be whole numbers from 1 or more",
    ),
    "sampler, cost missing": (lambda: sampled({"x": X}, cost="flops"), "positive cost in its user attribute 'flops'"),
    "sampler, two objectives": (
        lambda: sampled({"x": X}, lambda trial: (0.0, 1.0), ("minimize", "minimize")),
        "study of one objective, got 2",
    ),
    "sampler, log of what is maximised": (
        lambda: sampled({"x": X}, directions=("maximize",), transform="log"),
        'expected transform="identity"',
    ),
    "sampler, log of errors below zero": (
        lambda: sampled({"x": X}, lambda trial: -1.0, transform="log"),
        r"errors of at least 0, .* got -1.0 of trial 0; drop transform='log'",
    ),
}  # fmt: skip


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("what", BAD_CALLS)
def test_python_says_what_is_wrong(what):
    call, message = BAD_CALLS[what]
    with pytest.raises(ValueError, match=message):
        call()


def not_a_database(folder: Path) -> None:
    (folder / "study.db").write_text("this is a shopping list" * 100)


def foreign_database(folder: Path) -> None:
    with sqlite3.connect(folder / "study.db") as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")


def foreign_study(folder: Path) -> None:
    study = optuna.create_study(storage=f"sqlite:///{folder / 'study.db'}", study_name="theirs")
    study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=1)


def damaged(folder: Path) -> None:
    started(folder)
    content = bytearray((folder / "study.db").read_bytes())
    content[4096:12288] = bytes(RNG.integers(0, 256, 8192, dtype=np.uint8))
    (folder / "study.db").write_bytes(content)


def truncated(folder: Path) -> None:
    started(folder)
    content = (folder / "study.db").read_bytes()
    (folder / "study.db").write_bytes(content[: len(content) // 2])


def started(folder: Path, **options) -> None:
    tune(FORRESTER, "random", evaluations=2, storage=folder, progress=False, **options)


def started_on_branin(folder: Path) -> None:
    tune(SYNTHETIC["branin"], "random", evaluations=2, storage=folder, progress=False)


BAD_STUDIES = {
    "not a database": (not_a_database, "sound SQLite study, got: file is not a database"),
    "a database of another program": (foreign_database, r"found the tables \['customers'\]"),
    "a study of another program": (foreign_study, r"one study of ibo_jax .*found \['theirs'\]"),
    "damaged": (damaged, "sound SQLite study, got"),
    "truncated": (truncated, "sound SQLite study, got"),
    "another seed": (lambda folder: started(folder, seed=1), "found seed 1 instead of 0"),
    "another cost": (lambda folder: started(folder, cost="work"), "found cost 'work' instead of 'seconds'"),
    "another protocol": (lambda folder: started(folder, protocol="paper"), "found protocol 'paper' instead"),
    "another problem": (started_on_branin, "found problem 'branin' instead of 'forrester'"),
}


@pytest.mark.parametrize("what", BAD_STUDIES)
def test_a_study_that_is_not_this_one_is_left_alone(what, tmp_path, capsys):
    make, message = BAD_STUDIES[what]
    make(tmp_path)
    before = (tmp_path / "study.db").read_bytes()
    with pytest.raises(ValueError, match=message):
        tuned(storage=tmp_path)
    status = cli.main(["tune", "forrester", "--method", "random", "--out", str(tmp_path)])
    said = capsys.readouterr().err
    assert status == 2
    assert said.startswith("ibo-jax: expected")
    assert len(said.splitlines()) == 1
    assert (tmp_path / "study.db").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": -INPUTS}, "found data .* instead of"),
        ({"labels": (LABELS + 1) % 3}, "found data .* instead of"),
        ({"outputs": 4}, "found trained .*15 parameters.* instead of .*20 parameters"),
        ({"optimizer": lambda h, steps: optax.adam(h["learning_rate"])}, "numbers of the optimiser"),
        ({"batch_size": lambda h: 2}, "batches of 4.* instead of .*batches of 2"),
        ({"draw": "systematic"}, "found draw 'multinomial' instead of 'systematic'"),
    ],
    ids=["inputs", "labels", "network", "optimiser", "batches", "draw"],
)
def test_other_data_or_another_network_is_another_search(changes, message, tmp_path):
    tune(trained(), "random", evaluations=1, storage=tmp_path, progress=False)
    with pytest.raises(ValueError, match=message):
        tune(trained(**changes), "random", evaluations=2, storage=tmp_path, progress=False)
    assert len(tune(trained(), "random", evaluations=1, storage=tmp_path, progress=False).rows) == 1


@pytest.mark.usefixtures("unchecked_types")
def test_a_real_hyperparameter_may_be_written_as_any_number():
    made = trained(space=SearchSpace({"learning_rate": Float(0, 1)}))
    expected = made.evaluate(0, {"learning_rate": 1.0}, 1)
    for value in (1, np.float64(1.0), jnp.float32(1.0)):
        assert made.evaluate(0, {"learning_rate": value}, 1).error == expected.error


def test_augmentation_is_checked_as_training_calls_it():
    seen = set()
    trained(augment=lambda key, inputs, h: (seen.add(inputs.shape), inputs)[1])
    assert seen == {(1, 4)}


def test_small_data_and_plain_batch_sizes_do():
    assert trained(batch_size=None).evaluate(0, {"learning_rate": 0.01}, 6).state == "ok"
    assert trained(batch_size=5).learning.task.batch_size({}) == 5
    assert trained(batch_size=None).learning.task.batch_size({}) == 36 // 6


@pytest.mark.usefixtures("unchecked_types")
def test_whole_numbers_of_numpy_are_whole_numbers(tmp_path):
    space = SearchSpace({"units": Categorical(tuple(2 ** np.arange(3))), "depth": Integer(np.int64(1), np.int64(3))})
    levels = Fidelity("s", np.int64(1), np.int64(2), integer=True)
    one = Problem("mine", space, lambda seed, h, s: Outcome("ok", h["units"] / h["depth"]), levels)
    result = tune(one, "random", evaluations=np.int64(2), seed=np.int64(1), storage=tmp_path, progress=False)
    again = tune(one, "random", evaluations=2, seed=1, storage=tmp_path, progress=False)
    assert [row["hyperparameters"] for row in again.rows] == [row["hyperparameters"] for row in result.rows]


@pytest.mark.usefixtures("unchecked_types")
def test_bounds_and_seeds_are_any_numbers_that_are_whole_or_real():
    space = SearchSpace({"units": Integer(np.uint8(1), np.uint8(200)), "rate": Float(Fraction(1, 3), np.float32(2))})
    assert space.dimensions == {"units": Integer(1, 200), "rate": Float(1 / 3, 2.0)}
    assert {type(bound) for found in space.dimensions.values() for bound in found[:2]} == {int, float}
    made = Problem("mine", space, lambda seed, h, s: Outcome("ok", h["rate"]), Fidelity("s", 1, 1))
    assert len(tune(made, "random", evaluations=2, progress=False).rows) == 2
    study = optuna.create_study(sampler=IBOSampler(method="random", space={"x": X}, seed=3.0))
    study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=1)
    assert len(study.trials) == 1


@pytest.mark.usefixtures("unchecked_types")
def test_a_message_may_be_an_exception(tmp_path):
    failed = problem_like(evaluate=lambda *_: Outcome("crashed", np.nan, message=KeyError("depth")))
    with pytest.warns(UserWarning, match="no evaluation succeeded; the last one said: 'depth'"):
        found = tune(failed, "random", evaluations=1, storage=tmp_path, progress=False).rows
    assert [row["message"] for row in found] == ["'depth'"]


def test_a_negative_error_has_no_logarithm():
    below = problem_like(evaluate=lambda *_: Outcome("ok", -0.1), transform="log")
    with pytest.raises(ValueError, match=r"errors of at least 0.*got -0.1; state transform='identity'"):
        tune(below, "random", evaluations=2, progress=False)


def test_a_search_without_an_answer_says_why():
    def evaluate(seed, hyperparameters, value):
        raise KeyError("depth")

    with pytest.warns(UserWarning, match="no evaluation succeeded; the last one said: KeyError: 'depth'"):
        tune(problem_like(evaluate=evaluate), "random", evaluations=2, progress=False)


def test_a_changed_space_is_another_search(tmp_path):
    started(tmp_path)
    wider = problem_like(space=SearchSpace({"x1": Float(0.0, 2.0)}), evaluate=untouched)
    with pytest.raises(ValueError, match=r"found space.x1.high 1.0 instead of 2.0;"):
        tune(wider, "random", evaluations=3, storage=tmp_path, progress=False)


def test_all_names_of_a_study_are_taken(tmp_path):
    made = problem("digits-l2", scale="smoke")
    search = prepare(made, "random", progress=False)
    stored = {*search.store.notes()["settings"], *descent.prepare(made, "stn", progress=False).settings}
    assert stored - made.setup.keys() == set(SETTINGS)


@pytest.mark.parametrize("method", ["random", "hypernet-local"])
def test_another_scale_or_split_is_another_study(tmp_path, method, capsys):
    command = f"tune digits-l2 --method {method} --evaluations 1 --out {tmp_path} --scale"
    assert cli.main([*command.split(), "smoke"]) == 0
    assert cli.main([*command.split(), "cpu"]) == 2
    assert "found scale 'smoke' instead of 'cpu'" in capsys.readouterr().err
    other = problem("digits-l2", scale="smoke", split=1)
    with pytest.raises(ValueError, match="found split 0 instead of 1"):
        tune(other, method, evaluations=2, storage=tmp_path, progress=False)


BAD_COMMANDS = {
    "tune nonsense": "got 'nonsense'",
    "tune forrester --method nonsense": "got 'nonsense'",
    "tune forrester --scale huge": "expected a scale",
    "tune forrester --cost money": "expected a cost",
    "tune forrester --protocol nonsense": "expected a protocol",
    "tune forrester --evaluations 0": "whole number of evaluations",
    "tune forrester --evaluations -1": "whole number of evaluations",
    "tune forrester --seconds -1": "positive, finite number of seconds",
    "tune forrester --seconds nan": "positive, finite number of seconds",
    "tune forrester --seed -1": "expected a seed",
    "tune forrester --out file": "expected a folder for the study, got the file /",
    "tune forrester --evaluations many": "invalid int value",
    "tune forrester --unknown": "unrecognized arguments",
    "tune": "required: PROBLEM",
    "": "required: COMMAND",
    "show nowhere": "found no study.db there",
    "report nowhere": "found no study.db there",
    "report file": "found no study.db there",
}


@pytest.mark.parametrize("line", BAD_COMMANDS)
def test_the_command_says_what_is_wrong(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    try:
        status = cli.main(line.split())
    except SystemExit as exit_:  # of argparse
        status = exit_.code
    captured = capsys.readouterr()
    assert status == 2
    assert BAD_COMMANDS[line] in captured.err
    assert "Traceback" not in captured.err
    assert [path.name for path in Path().iterdir()] == ["file"]  # nothing was written


def test_a_missing_data_set_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cli.main(["tune", "mnist-fcn", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "mnist" in said
    assert "TFDS_DATA_DIR" in said
    assert not (tmp_path / "out").exists()
