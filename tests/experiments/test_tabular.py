"""The recorded trainings: what a recording holds, how well the forest knows others, what each method sees of it."""

import numpy as np
import pytest

from experiments.common import rows
from experiments.tabular import as_trained
from experiments.tabular.problem import EPOCHS, EXAMPLES, SPACE, accuracy, features, forests, table, tabular
from experiments.tabular.record import RECORDED, record, views
from ibo_jax.methods import METHODS
from ibo_jax.problems import catalogue

MIDDLE = SPACE.decode(np.full(SPACE.dimension, 0.6))


@pytest.fixture(scope="module")
def data():
    return table(rows.read(RECORDED))


def test_a_recording_is_a_training_that_can_be_repeated():
    seen = views(catalogue.problem("digits-mlp", scale="smoke"))
    one, again = (
        {**record(number, seen), "cost_seconds": 0, "compile_seconds": 0, "cpu_share": 0} for number in (4, 4)
    )
    assert one == again
    assert one["state"] == "ok"
    assert one["presample_ratio"] == 1
    assert one["subset_size"] <= 1000
    assert len(one["errors"]) == 3


def test_each_recording_counts_once_and_is_of_the_network(data):
    found = [row for row in rows.read(RECORDED) if "number" in row]
    assert len({row["number"] for row in found}) == len(found) >= 600
    assert len(data.features) >= 590
    shares = [np.mean([(row["presample_ratio"] > 1, row["subset_size"] is None) == kind for row in found])
              for kind in ((True, True), (False, True), (True, False), (False, False))]  # fmt: skip
    assert min(shares) > 0.03


def test_the_forest_predicts_trainings_that_it_has_not_seen(data):
    found = accuracy(data)
    assert found["error_r2"] > 0.85
    assert found["error_spearman"] > 0.93
    assert found["cost_r2"] > 0.9


def test_the_last_bits_of_a_logarithm_do_not_matter(data):
    """Processors differ in them, and trees break ties by them."""
    found = rows.read(RECORDED)
    nudged = [row | {"errors": [float(np.nextafter(error, 1)) for error in row["errors"]],
                     "cost_seconds": float(np.nextafter(row["cost_seconds"], 0))}
              for row in found if row.get("state") == "ok"]  # fmt: skip
    for original, other in zip(data[1:], table(nudged)[1:], strict=True):
        np.testing.assert_array_equal(original, other)


def test_the_forest_returns_what_was_recorded(data):
    errors = forests().errors.predict(data.features)
    np.testing.assert_allclose(errors, data.log_errors, atol=1e-6)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_sees_the_table_as_it_trains(name):
    method = METHODS[name]
    problem = tabular().seen(method.axis, method.importance)
    outcome = problem.evaluate(5, MIDDLE, problem.fidelity.target)
    errors, cost = forests().predict(features(MIDDLE, outcome.presample_ratio, EXAMPLES))
    assert (outcome.error, outcome.cost_work) == (pytest.approx(errors[-1]), pytest.approx(cost))
    assert outcome.history["error"] == pytest.approx(errors)
    assert problem.evaluate(5, MIDDLE, problem.fidelity.decode(0.0)).cost_work <= outcome.cost_work
    stopped = problem.evaluate(5, MIDDLE, problem.fidelity.target, on_epoch=lambda epoch, error: epoch == 3)
    assert stopped.state == "pruned"
    assert stopped.cost_work == pytest.approx(outcome.cost_work * 3 / EPOCHS)


def test_answers_are_judged_as_their_methods_train_them():
    """IBO at its largest presample, those that draw a ratio by the mean, all others plainly, as published."""
    predicted = {ratio: np.exp(forests().errors.predict([features(MIDDLE, ratio, EXAMPLES)])[0, -1])
                 for ratio in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)}  # fmt: skip
    wanted = {"ibo": predicted[6.0], "es": predicted[1.0], "tpe": predicted[1.0],
              "es-is": np.mean([predicted[ratio] for ratio in predicted if ratio > 1])}  # fmt: skip
    found = as_trained.curves([row for method in wanted for row in searched(method, MIDDLE)])
    assert {method: runs[0].error[0] for method, runs in found.items()} == pytest.approx(wanted)


def test_curves_as_trained_keep_the_costs_and_the_trials_without_an_answer():
    trained = as_trained.curves(searched("ibo", None, MIDDLE))["ibo"][0]
    np.testing.assert_array_equal(trained.training, [2.0, 4.0])
    assert np.isnan(trained.error[0])
    assert trained.error[1] == as_trained.curves(searched("ibo", MIDDLE))["ibo"][0].error[0]


def searched(method, *answers):
    """Rows of a search with these answers after its trials."""
    costs = dict.fromkeys(("cost_seconds", "compile_seconds", "suggest_seconds", "cost_work"), 2.0)
    trials = [{"method": method, "seed": 0, "slot": slot, "incumbent": answer, "test_error": answer and 0.4, **costs}
              for slot, answer in enumerate(answers)]  # fmt: skip
    return [*trials, {"method": method, "seed": 0, "ended": {"trials": len(answers)}}]
