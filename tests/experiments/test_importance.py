"""Checks of importance sampling as they are run: the estimator by brute force, a small run, and what is plotted."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.importance import __main__ as command
from experiments.importance import figures, plot, seconds, summary, variance
from experiments.importance.settings import CASES, GROUPS, OPTIMIZERS, SCALES, SCHEDULES, STUDIES
from reference import importance as twin


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Both checks at scale smoke, the variance study of one network."""
    path = tmp_path_factory.mktemp("importance")
    for check in ("variance", "seconds"):
        command.main([check, "--scale", "smoke", "--networks", "mlp", "--limit", "6", "--out", str(path)])
    return path


def stored(folder, name):
    return [json.loads(line) for line in (folder / f"{name}-smoke.jsonl").read_text().splitlines()]


def example(count=4, size=3, seed=0):
    rng = np.random.default_rng(seed)
    gradients = rng.normal(size=(count, size)) * np.array([0.2, 1.0, 3.0, 0.5])[:count, None]
    return gradients, rng.uniform(0.1, 1.0, count).astype(np.float32)


def all_draws(gradients, scores, batch):
    """Probability and distance to the mean of every ordered batch."""
    g, mean = scores.astype(np.float64) / scores.sum(dtype=np.float64), gradients.mean(0)
    for drawn in itertools.product(range(len(g)), repeat=batch):
        weighted = np.mean([gradients[i] / (len(g) * g[i]) for i in drawn], axis=0)
        yield np.prod(g[list(drawn)]), np.linalg.norm(weighted - mean)


def test_distances_and_variance_equal_the_expectation_over_all_draws():
    gradients, scores = example()
    draws = np.array(list(all_draws(gradients, scores, 3)))
    assert draws[:, 0].sum() == pytest.approx(1)
    products = variance.gram(lambda part: jnp.asarray(gradients[part], jnp.float32), 4)
    np.testing.assert_allclose(products, gradients @ gradients.T, rtol=1e-5, atol=1e-6)
    assert variance.variance(products, scores, 3) == pytest.approx(draws[:, 0] @ draws[:, 1] ** 2, rel=1e-5)
    sampled = variance.distances(jax.random.key(0), products, scores, 3, 20_000)
    standard_error = sampled.std(ddof=1) / len(sampled) ** 0.5
    assert abs(sampled.mean() - draws[:, 0] @ draws[:, 1]) < 4 * standard_error
    assert standard_error < 0.02 * sampled.mean()


def test_gain_equals_the_twin_and_the_gradient_norm_has_the_largest():
    gradients, _ = example(seed=1)
    products = gradients @ gradients.T
    norms = np.linalg.norm(gradients, axis=1).astype(np.float32)
    study = STUDIES["smoke"][0]._replace(batch=2, redraws=500)
    scores = {"uniform": np.ones(4, np.float32), "loss": np.float32([1, 2, 3, 4]), "gradient_norm": norms}
    found = {row["score"]: row for row in variance.measure(jax.random.key(0), products, scores, study)}
    for name, values in scores.items():
        assert found[name]["gain"] == pytest.approx(twin.variance_reduction(gradients, values), rel=1e-4)
    assert found["gradient_norm"]["gain"] == max(row["gain"] for row in found.values())
    assert found["uniform"]["normalised"] == 1
    assert found["gradient_norm"]["rank_correlation"] == pytest.approx(1)


def test_the_gram_matrix_is_put_together_from_blocks(monkeypatch):
    monkeypatch.setattr(variance, "BLOCK", 3)
    gradients = np.random.default_rng(2).normal(size=(8, 5)).astype(np.float32)
    np.testing.assert_allclose(variance.gram(lambda part: gradients[part], 8), gradients @ gradients.T, rtol=1e-5)


def test_a_small_run_has_every_row_and_is_not_repeated(folder):
    study = STUDIES["smoke"][0]
    measured = {(row["step"], row["score"]) for row in stored(folder, "variance") if "score" in row}
    assert measured == set(itertools.product(study.steps, variance.SCORES))
    assert all(row["normalised_error"] > 0 for row in stored(folder, "variance") if row.get("score") == "loss")
    trained = [row for row in stored(folder, "seconds") if "series" in row]
    assert [row["ratio"] for row in trained] == [1, 3, 3, 1, 3, 3]
    for check, limit in (("variance", "9"), ("seconds", "0")):
        before = (folder / f"{check}-smoke.jsonl").read_text()
        command.main([check, "--scale", "smoke", "--networks", "mlp", "--limit", limit, "--out", str(folder)])
        assert (folder / f"{check}-smoke.jsonl").read_text() == before


def test_a_training_that_was_cut_off_gives_the_rows_that_it_lacks(folder, tmp_path):
    rows, last = stored(folder, "variance"), STUDIES["smoke"][0].steps[-1]
    path = tmp_path / "variance-smoke.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows if row.get("step") != last))
    command.main(["variance", "--scale", "smoke", "--networks", "mlp", "--out", str(tmp_path)])
    assert [row for row in stored(tmp_path, "variance") if row.get("step") == last] == [
        row for row in rows if row.get("step") == last
    ]


def test_equal_seconds_are_those_of_priced_steps_and_a_training_repeats(folder):
    priced = next(row["prices"] for row in stored(folder, "seconds") if "prices" in row)
    row = next(row for row in stored(folder, "seconds") if row.get("ratio") == 3)
    uniform, by_importance = priced["3"]
    drawn = round(row["share"] * row["steps"])
    spent = drawn * by_importance + (row["steps"] - drawn) * uniform
    assert row["series"]["at"][-1] == pytest.approx(spent, rel=1e-4)
    assert row["seconds"] <= spent < row["seconds"] + seconds.STEPS * max(uniform, by_importance)
    assert len(row["series"]["train_loss"]) == seconds.CHECKPOINTS
    cell = seconds.Cell(*(row[name] for name in seconds.Cell._fields))
    again = seconds.train("smoke", cell, seconds.Price(uniform, by_importance))
    assert again["series"] == row["series"]
    slow = seconds.train("smoke", cell, seconds.Price(*[2 * cell.seconds / seconds.CHECKPOINTS / seconds.STEPS] * 2))
    assert len(slow["series"]["at"]) == seconds.CHECKPOINTS


def test_plotted_series_are_the_stored_values(folder):
    rows = stored(folder, "variance")
    series = figures.variance_series([row for row in rows if "score" in row], "mlp", "upper_bound")
    wanted = [row for row in rows if row.get("score") == "upper_bound"]
    assert series.x.tolist() == [row["step"] for row in wanted]
    assert series.y.tolist() == [row["normalised"] for row in wanted]
    runs = summary.finished(folder / "seconds-smoke.jsonl")
    key = ("mlp", "sgd", "constant", 3, "published")
    pair = [[runs[cell][seed]["series"] for seed in (0, 1)] for cell in (key, (*key[:3], 1, "published"))]
    ratios = [ours["train_loss"][-1] / theirs["train_loss"][-1] for ours, theirs in zip(*pair, strict=True)]
    differences = [ours["test_error"][-1] - theirs["test_error"][-1] for ours, theirs in zip(*pair, strict=True)]
    cell = summary.compare(runs)[key]
    assert cell.ratio == pytest.approx((np.sqrt(np.prod(ratios)), min(ratios), max(ratios)))
    assert cell.difference == pytest.approx((np.mean(differences), min(differences), max(differences)))
    median = np.median([each["train_loss"] for each in pair[0]], axis=0)
    panel = figures.curves(runs, "mlp").axes[0]
    assert any(np.array_equal(line.get_ydata(), median) for line in panel.get_lines())
    forest = figures.forest(runs).axes[0]
    assert any(cell.ratio[0] in np.asarray(line.get_xdata()) for line in forest.get_lines())
    ours, theirs = (sum(row["measured_seconds"] for row in runs[arm].values()) for arm in (key, (*key[:3], 1, key[4])))
    assert cell.measured == pytest.approx(ours / theirs)
    assert f"| {cell.seeds} |" in summary.table(runs)


def test_figures_are_small_and_repeat_to_the_byte(folder):
    first = {path.name: path.read_bytes() for path in plot.draw(folder)}
    assert set(first) == {"variance-smoke.svg", "seconds-smoke.svg", "curves-smoke-mlp.svg"}
    assert max(map(len, first.values())) < 150_000
    assert {path.name: path.read_bytes() for path in plot.draw(folder)} == first


def test_intervals_are_those_of_student():
    mean, low, high = summary.interval(np.array([0.1, 0.3, 0.2, 0.5, 0.4]))
    assert (mean, low, high) == pytest.approx((0.3, 0.3 - 2.776445 * 0.0707107, 0.3 + 2.776445 * 0.0707107), abs=1e-6)


def test_schedules_end_where_they_should():
    assert [SCHEDULES["cosine"](done) for done in (0.0, 0.5, 1.0, 1.1)] == pytest.approx([1, 0.5, 0, 0])
    assert [SCHEDULES["drops"](done) for done in (0.0, 0.39, 0.4, 0.79, 0.8)] == pytest.approx([1, 1, 0.2, 0.2, 0.04])
    assert SCHEDULES["constant"](0.7) == 1


@pytest.mark.parametrize("scale", SCALES)
def test_settings_fit_together(scale):
    for study in STUDIES[scale]:
        assert all(step % variance.STEPS == 0 for step in study.steps)
        assert study.optimizer in OPTIMIZERS
        assert study.schedule in SCHEDULES
        assert study.optimizer in dict(CASES[scale][study.network].rates)
    for group in GROUPS[scale]:
        assert set(group.optimizers) <= set(dict(CASES[scale][group.network].rates))
    cells = seconds.plan(scale, list(CASES[scale]))
    assert len(cells) == len(set(cells))
    assert all(cell._replace(ratio=1, switch="published") in cells for cell in cells)
