"""Answers as their methods train: real trainings with importance, once each, on test data."""

import numpy as np
import pytest

from experiments.common import as_trained, command, curves, rows
from experiments.common.settings import experiment
from ibo_jax.training.trainer import retrain

DIGITS = experiment("digits")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A search of three methods, of which one trains plainly."""
    folder = tmp_path_factory.mktemp("searches")
    path = folder / "rows-smoke.jsonl"
    asked = ["--scale", "smoke", "--methods", "ibo", "es-is", "random", "--seeds", "1", "--evaluations", "3"]
    assert command.main(DIGITS, [*asked, "--rows", str(path), "--runs", str(folder / "runs")]) == 0
    return path


def last_errors(path):
    return as_trained.last_errors(as_trained.retrained(rows.read(path), rows.read(as_trained.results_file(path))))


def test_answers_are_retrained_once_at_their_own_ratios(path, capsys):
    asked = ["digits", "--scale", "smoke", "--rows", str(path)]
    as_trained.main(asked)
    about, *found = rows.read(as_trained.results_file(path))
    assert about["machine"].keys() >= {"processor", "jax"}
    assert [(row["method"], row["presample_ratio"]) for row in found] == [
        ("ibo", 6), *(("es-is", ratio) for ratio in (2, 3, 4, 5, 6))
    ]  # fmt: skip
    learning = DIGITS.problem("smoke", "default", 0).learning
    again = retrain(0, learning.task, found[0]["hyperparameters"], learning.data, presample_ratio=6)
    assert found[0]["test_error"] == again.test_error
    as_trained.main(asked)
    assert rows.read(as_trained.results_file(path)) == [about, *found]

    errors = last_errors(path)
    last = {row["method"]: row for row in rows.read(path) if "slot" in row}
    assert errors["ibo"] == {0: found[0]["test_error"]}
    assert errors["es-is"][0] == pytest.approx(sum(row["test_error"] for row in found[1:]) / 5)
    assert errors["random"] == {0: last["random"]["test_error"]}
    assert f"| ibo | 1 | {found[0]['test_error']:.4f}" in capsys.readouterr().out


def test_every_answer_of_a_method_makes_a_curve(path):
    last = last_errors(path)
    as_trained.main(["digits", "--scale", "smoke", "--rows", str(path), "--every", "ibo"])
    stored, results = rows.read(path), rows.read(as_trained.results_file(path))
    found, plain = as_trained.retrained(stored, results), curves.load(stored)
    assert as_trained.whole(stored, results) == ["ibo", "random"]
    assert last_errors(path) == last
    known = {str(row["hyperparameters"]): row["test_error"] for row in results if row.get("method") == "ibo"}
    assert len(known) > 1
    trials = {row["slot"]: row["incumbent"] for row in stored if row["method"] == "ibo" and "slot" in row}
    wanted = [np.nan if trials[slot] is None else known[str(trials[slot])] for slot in sorted(trials)]
    np.testing.assert_array_equal(found["ibo"][0].error, wanted)
    np.testing.assert_array_equal(found["ibo"][0].training, plain["ibo"][0].training)
    np.testing.assert_array_equal(found["random"][0].error, plain["random"][0].error)


@pytest.mark.parametrize(
    ("name", "said"),
    [("digits", "searches that have ended"), ("tabular", "to train networks"), ("fcn_mnist", "those of digits")],
)
def test_what_cannot_be_retrained_is_said(path, name, said, tmp_path, capsys):
    searches = tmp_path / path.name
    if name != "digits":
        searches.write_text(path.read_text().replace('"digits"', '"tabular"' if name == "tabular" else '"digits"'))
    with pytest.raises(SystemExit):
        as_trained.main([name, "--scale", "smoke", "--rows", str(searches)])
    assert said in capsys.readouterr().err
    assert not as_trained.results_file(searches).exists()
