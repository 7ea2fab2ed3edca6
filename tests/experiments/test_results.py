"""Curves, figures and tables from hand-made rows: what is shown is what is stored."""

import gzip
import json
import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from experiments.benchmarks import regret
from experiments.common import curves, figures, pages, rows, tables, time_to_target
from experiments.common.settings import GROUPS, METHODS, TOOLS
from experiments.table1 import plot as table1

ERRORS = {
    "ibo": [[None, 0.5, 0.2], [0.6, 0.3, 0.1], [0.4, 0.4, 0.3]],
    "es": [[0.7, 0.7, 0.25], [0.5, 0.5, 0.5], [0.9, 0.2, 0.2]],
    "random": [[0.8, 0.6, 0.4], [0.7, 0.6, 0.6]],
}
SECONDS = {"ibo": 2.0, "es": 1.5, "random": 1.0}
WORK = {"ibo": 1e9, "es": 2e9, "random": 2e9}


@pytest.fixture
def path(tmp_path):
    """Rows out of order, a machine's row, a cell that has not ended."""
    lines = [{"method": "ibo", "seed": 0, "machine": {}}]
    for method, by_seed in ERRORS.items():
        for seed, errors in enumerate(by_seed):
            for slot in (1, 0, 2):
                lines.append({
                    "method": method, "seed": seed, "slot": slot, "cost_seconds": SECONDS[method] + seed / 8,
                    "compile_seconds": 0.25, "suggest_seconds": 0.5, "cost_work": WORK[method],
                    "test_error": errors[slot],
                })  # fmt: skip
            lines.append({"method": method, "seed": seed, "ended": {"trials": 3}})
    lines.append(lines[-2] | {"method": "es", "seed": 9})
    file = tmp_path / "rows-smoke.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


@pytest.fixture
def found(path):
    return curves.load(rows.read(path))


def test_runs_are_the_ended_cells_in_the_order_of_methods(found):
    assert [(method, list(runs)) for method, runs in found.items()] == [
        ("ibo", [0, 1, 2]), ("es", [0, 1, 2]), ("random", [0, 1])
    ]  # fmt: skip
    run = found["es"][2]
    np.testing.assert_allclose(run.training, [1.75, 3.5, 5.25])
    np.testing.assert_allclose(run.total, [2.5, 5.0, 7.5])
    np.testing.assert_allclose(run.work, [2e9, 4e9, 6e9])
    assert run.error.tolist() == [0.9, 0.2, 0.2]
    assert run.trials.tolist() == [1, 2, 3]
    assert curves.common_end(found, "training") == 3.1875  # the median run of random search


def test_of_a_cell_that_is_being_extended_the_part_that_has_ended_counts(path):
    with path.open("a") as file:
        file.write(json.dumps({"method": "ibo", "seed": 0, "slot": 3, "cost_seconds": 1, "compile_seconds": 0,
                               "suggest_seconds": 0, "cost_work": 0, "test_error": 0.1}) + "\n")  # fmt: skip
    assert curves.load(rows.read(path))["ibo"][0].trials.tolist() == [1, 2, 3]


def test_rows_of_two_scales_are_not_mixed(path):
    found = rows.read(path)
    with pytest.raises(ValueError, match=r"rows of one experiment, scale, protocol, cost, found .*'cpu'"):
        curves.load([*found, found[-2] | {"scale": "cpu", "slot": 0}])


def test_bands_are_quantiles_of_steps(found):
    band = curves.band(found["ibo"], "training", 6.5)
    for i, x in enumerate(band.x):
        stored = []
        for seed, errors in enumerate(ERRORS["ibo"]):
            trained = int(x // (SECONDS["ibo"] + seed / 8))
            stored.append(errors[min(trained, 3) - 1])
        np.testing.assert_allclose([band.low[i], band.median[i], band.high[i]], np.quantile(stored, [0.25, 0.5, 0.75]))
        assert band.worst[i] == max(stored)
    assert band.x[0] == 4.0  # nothing is known of seed 0 before its second trial
    assert band.x[-1] == 6.5


def test_thinned_bands_keep_exact_values_and_the_end():
    rng = np.random.default_rng(0)
    runs = {
        seed: curves.Run(*np.cumsum(rng.uniform(1, 2, (4, 100)), axis=1), rng.uniform(size=100)) for seed in range(4)
    }
    end = curves.common_end({"ibo": runs}, "training")
    whole, thin = (curves.band(runs, "training", end, points) for points in (10_000, 20))
    assert len(thin.x) <= 21 < len(whole.x)
    assert thin.x[-1] == end
    assert set(zip(*thin, strict=True)) <= set(zip(*whole, strict=True))


@pytest.mark.parametrize("cost", ["training", "work"])
def test_plotted_lines_are_the_stored_values(found, cost):
    found = curves.of(found, ("ibo", "es"))
    figure = figures.comparison(found, "title", cost)
    panels = dict(zip(figures.PANELS[cost], figure.axes, strict=True))
    for name, axes in panels.items():
        axis = cost if name == "worst" else name
        *lines, common = axes.lines if name != "trials" else (*axes.lines, None)  # all have as many trials
        assert len(lines) == len(found)
        if common is not None:
            assert common.get_xdata()[0] == pytest.approx(curves.common_end(found, axis))
        for line, (method, runs) in zip(lines, found.items(), strict=True):
            assert line.get_label() == f"{method} ({len(runs)} seeds)"
            assert line.get_color() == figures.COLOURS[method]
            x, y = line.get_data()
            assert x[-1] == pytest.approx(max(getattr(run, axis)[-1] for run in runs.values()))
            for spent, shown in zip(x, y, strict=True):
                stored = [curves.at(run, axis, spent) for run in runs.values()]
                assert shown == pytest.approx(max(stored) if name == "worst" else np.median(stored))
        bands = [collection.get_paths()[0].vertices for collection in axes.collections]
        assert len(bands) == (0 if name == "worst" else len(found))
        for vertices, runs in zip(bands, found.values(), strict=False):
            band = curves.band(runs, axis, curves.last_end(runs, axis))
            assert vertices[:, 1].min() == pytest.approx(band.low.min())
            assert vertices[:, 1].max() == pytest.approx(band.high.max())


def test_colours_differ_within_a_group():
    for methods in GROUPS.values():
        assert len({figures.COLOURS[method] for method in methods}) == len(methods)
    assert {*METHODS, *TOOLS} == set().union(*GROUPS.values())


def test_a_redraw_is_the_same_bytes(path):
    written = pages.draw(path, "Title")
    assert [file.name for file in written] == ["smoke-published.svg", "smoke-others.svg", "smoke.md"]
    before = [file.read_bytes() for file in written]
    assert pages.draw(path, "Title") == written
    assert [file.read_bytes() for file in written] == before
    assert max(map(len, before)) < 100_000


@pytest.mark.parametrize("answered", [[("ibo", 0)], []])
def test_searches_without_an_answer_are_drawn_too(path, answered):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if "slot" in line and (line["method"], line["seed"]) not in answered:
            line["test_error"] = None
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [file.name for file in pages.draw(path, "Title")] == ["smoke-published.svg", "smoke-others.svg", "smoke.md"]


def test_the_last_bits_of_positions_leave_a_figure_as_it_is(tmp_path):
    drawn = []
    for left in (0.1, math.nextafter(0.1, 1.0)):
        figure = Figure()
        figure.add_axes((left, 0.1, 0.7, 0.7)).plot([1, 2], marker="o")
        figures.save(figure, tmp_path / "drawn.svg")
        drawn.append((tmp_path / "drawn.svg").read_text())
    assert drawn[0] == drawn[1]
    assert '<clipPath id="p3">' in drawn[0]


def test_nothing_is_drawn_without_an_ended_cell(tmp_path):
    assert pages.draw(tmp_path / "rows-cpu.jsonl", "Title") == []


def test_rows_need_neither_their_folder_nor_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # where no program is
    rows.append(tmp_path / "new" / "folder" / "rows-cpu.jsonl", rows.machine())
    (row,) = rows.read(tmp_path / "new" / "folder" / "rows-cpu.jsonl")
    assert row["commit"] == ""
    assert row["jax"]


def test_packed_rows_are_read_before_those_that_came_later(tmp_path):
    rows.append(tmp_path / "rows-cpu.jsonl", {"n": 1})
    packed = rows.packed_name(tmp_path / "rows-cpu.jsonl")
    packed.write_bytes(gzip.compress((tmp_path / "rows-cpu.jsonl").read_bytes()))
    (tmp_path / "rows-cpu.jsonl").unlink()
    assert rows.files(tmp_path, "rows-*.jsonl") == [tmp_path / "rows-cpu.jsonl"]
    rows.append(tmp_path / "rows-cpu.jsonl", {"n": 2})
    assert rows.read(tmp_path / "rows-cpu.jsonl") == [{"n": 1}, {"n": 2}]
    assert rows.files(tmp_path, "rows-*.jsonl") == [tmp_path / "rows-cpu.jsonl"]


def test_summary_and_pairs_are_those_of_numpy_and_scipy(found):
    ends = {method: [errors[-1] for errors in by_seed] for method, by_seed in ERRORS.items()}
    sample = np.array(ends["es"])
    summary = tables.summary(sample)
    np.testing.assert_allclose(summary[1:3], [np.mean(sample), np.std(sample, ddof=1)])
    np.testing.assert_allclose(summary.quartiles, np.quantile(sample, [0.25, 0.5, 0.75]))
    assert summary.worst == 0.5
    difference = sample - np.array(ends["ibo"])
    paired = tables.paired(difference)
    interval = stats.ttest_rel(ends["es"], ends["ibo"]).confidence_interval(0.95)
    np.testing.assert_allclose([paired.mean, paired.low, paired.high], [difference.mean(), *interval])
    assert (paired.seeds, paired.better, paired.worse) == (3, 1, 2)


def test_the_written_table_has_the_numbers_at_the_common_end(found):
    text = tables.markdown(curves.of(found, ("ibo", "es")))
    after_trials = text[text.index("After 3 trials") :]
    assert "| ibo | 3 | 0.2000 ± 0.1000 | 0.2000 [0.1500, 0.2500] | 0.3000 |" in after_trials
    assert "| es | 3 | 0.3167 ± 0.1607 | 0.2500 [0.2250, 0.3750] | 0.5000 |" in after_trials
    assert "| es | 3 | +0.1167 |" in after_trials
    assert "| 1 / 0 / 2 |" in after_trials
    assert "After 4.875 seconds of training" in text
    price = 1e12 * np.median([run.training[-1] / run.work[-1] for run in found["ibo"].values()])
    assert f"Seconds of 1e12 operations: ibo {price:.3g}, es " in text
    assert "| ibo | 3 | 0.4000 ± 0.1000 |" in text[: text.index("After 3e+09 operations")]
    after_work = text[text.index("After 3e+09 operations") : text.index("After 3 trials")]
    assert "| es | 3 | 0.7000 ± 0.2000 | 0.7000 [0.6000, 0.8000] | 0.9000 |" in after_work


def test_methods_of_unequal_numbers_of_trials_are_also_tabled_each_at_its_own_end(found):
    pair = curves.of(found, ("ibo", "es"))
    assert "Each after all" not in tables.markdown(pair)
    longer = {seed: run._replace(trials=2 * run.trials) for seed, run in found["es"].items()}
    text = tables.markdown({**pair, "es": longer})
    after_all = text[text.index("Each after all of its trials (ibo 3, es 6)") :]
    assert "| es | 3 | 0.3167 ± 0.1607 |" in after_all
    assert "| es | 3 | +0.1167 |" in after_all
    assert "| es | 3 | 0.3167 ± 0.1607 |" not in text[text.index("After 3 trials") : text.index("Each after all")]


def test_work_that_is_the_recorded_seconds_is_tabled_once(found):
    found = {"ibo": {seed: run._replace(work=run.training) for seed, run in found["ibo"].items()}}
    assert "operations" not in tables.markdown(found)


def test_a_pair_without_an_answer_counts_as_neither_better_nor_equal(found):
    late = {seed: run._replace(error=np.where(run.trials < 3, np.nan, run.error)) for seed, run in found["es"].items()}
    early = {"ibo": {seed: run._replace(trials=0.5 * run.trials) for seed, run in found["ibo"].items()}, "es": late}
    assert "| es | 3 | - | [-, -] | - |" in tables.markdown(early)


def test_seconds_to_the_error_of_random_search_are_shares_of_its_own(found):
    trials = {"ibo": (3, 1), "es": (3, 1), "random": (3, 2)}  # random search ends at .4 and .6, after three
    of_trial = {method: np.array([0.75, 0.875]) + SECONDS[method] for method in trials}
    wanted = {method: of_trial[method] * trials[method] / (3 * of_trial["random"]) for method in trials}
    shares = time_to_target.shares(found)
    assert shares.keys() == trials.keys()
    for method, by_seed in shares.items():
        np.testing.assert_allclose([by_seed[0], by_seed[1]], wanted[method])
    worse = {**found, "es": {0: found["es"][0]._replace(error=np.array([np.nan, 0.9, 0.9]))}}
    assert time_to_target.shares(worse)["es"] == {0: math.inf}
    assert "| es | 0 of 1 | never [never, never] |" in time_to_target.markdown(worse)
    low, high = sorted(shares["ibo"].values())
    assert f"| ibo | 2 of 2 | {(low + high) / 2:.2f} [{low:.2f}, {high:.2f}] |" in time_to_target.markdown(found)
    assert time_to_target.markdown(curves.of(found, ("ibo", "es"))) == []


def test_one_seed_has_no_interval():
    assert np.isnan([tables.summary([0.1]).deviation, tables.paired([0.1]).low]).all()


def test_table1_takes_the_largest_subset_on_which_the_answer_was_seen(tmp_path):
    path = tmp_path / "rows-cpu.jsonl"
    lines = []
    for seed, (first, second) in enumerate([(3000, 12000), (6000, 12000)]):
        lines.append({"method": "fabolas", "seed": seed, "searched_fidelity": {"low": 256, "high": 60000}})
        for slot, (x, size) in enumerate([(1, first), (1, second), (2, 60000)]):
            lines.append({
                "method": "fabolas", "seed": seed, "slot": slot, "hyperparameters": {"x": x}, "fidelity": size,
                "incumbent": {"x": 1 + seed}, "test_error": 0.04 + 0.02 * seed,
            })  # fmt: skip
        lines.append({"method": "fabolas", "seed": seed, "ended": {"trials": 3}})
    lines += [{**lines[1], "seed": 5}, {**lines[1], "method": "es", "seed": 0}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    ends = table1.finals(path)
    assert ends == [(0, 0.04, 12000, 0.2), (1, 0.06, 60000, 1.0)]
    text = table1.table({("fcn_mnist", "cpu"): ends})
    assert "| fcn_mnist | cpu | 2 | 0.0500 ± 0.0141 | 36,000 ± 33,941 | 60% ± 57% | 0.06 | 18,034 | 30% |" in text


@pytest.mark.parametrize("size", [20, 32])
def test_an_interval_holds_the_median_as_often_as_it_says(size):
    samples = np.random.default_rng(size).standard_cauchy((4000, size))
    held = np.mean([low <= 0.0 <= high for low, high in map(regret.median_interval, samples)])
    assert 0.95 - 3 * np.sqrt(0.95 * 0.05 / 4000) < held < 0.985  # at least, but ranks are whole numbers
