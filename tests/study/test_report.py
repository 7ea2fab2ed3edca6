"""The report page: complete, self-contained, and unmoved by anything a study can hold."""

import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from ibo_jax import Fidelity, Integer, Problem, SearchSpace
from ibo_jax.study import figures
from ibo_jax.study.progress import number as shown
from ibo_jax.study.report import FIGURES, axes_of, page, write_report
from ibo_jax.study.tune import tune

SPACE = {
    "learning_rate": {"type": "Float", "low": 1e-4, "high": 0.1, "log": True},
    "width": {"type": "Integer", "low": 16, "high": 256, "log": True},
    "dropout": {"type": "Float", "low": 0.0, "high": 0.5, "log": False},
    "activation": {"type": "Categorical", "choices": ["relu", "tanh"]},
}
SUMMARY = {
    "problem": "digits-mlp", "method": "ibo", "seed": 0, "protocol": "default", "cost": "seconds", "evaluations": 30,
    "space": SPACE, "fidelity": {"name": "presample_ratio", "low": 1, "high": 6, "integer": True},
    "transform": "log", "versions": {"jax": "0.10.2", "ibo_jax": "0.1.0"},
    }  # fmt: skip


def make_trials(count, seed=0):
    """A study as it happens: a random start, then predictions, some divergence, a crash, a fallback."""
    rng, trials, elapsed = np.random.default_rng(seed), [], 0.0
    for number in range(count):
        initial, focus = number < 5, max(0.15, 1 - number / 25)
        rate = float(np.clip(10 ** rng.normal(-2.3, 0.9 * focus), 1e-4, 0.1))
        ratio = int(rng.choice([1, 2, 3, 6]))
        error = 0.02 + 0.05 * (math.log10(rate) + 2.3) ** 2 + 0.004 * (6 - ratio) + 0.01 * rng.random()
        cost = (0.5 + 0.3 * ratio) * rng.uniform(0.9, 1.1)
        state = "diverged" if rate > 0.06 else "crashed" if number == 11 else "ok"
        error = {"diverged": 0.9, "crashed": None}.get(state, error)
        elapsed += cost + 1.1
        trials.append({
            "number": number, "state": state, "presample_ratio": ratio, "fidelity": ratio,
            "s": math.log(ratio) / math.log(6),
            "hyperparameters": {"learning_rate": rate, "width": int(rng.integers(16, 257)),
                                "dropout": float(rng.uniform(0, 0.5)), "activation": str(rng.choice(["relu", "tanh"]))},
            "error": error, "cost_seconds": cost, "cost_work": cost * 1e9, "compile_seconds": 0.8,
            "suggest_seconds": 0.0 if initial else 0.3, "importance_share": 0.1 * ratio,
            "reason": "initial" if initial else "guard" if number % 9 == 0 else "acquisition",
            "warning": "the fit did not converge; a random point is tried" if number in (14, 15) else "",
            "predicted_objective": None if initial else math.log(error or 0.05) + 0.2 * rng.normal(),
            "predicted_sd": None if initial else 0.25,
            "predicted_log_cost": None if initial else math.log(cost) + 0.1 * rng.normal(),
            "entropy": None if initial else 3.5 - 0.05 * number + 0.2 * rng.random(),
            "incumbent": None if initial else trials[0]["hyperparameters"],
            "predicted_error": None if initial else 0.03 + 0.05 / number,
            "elapsed_seconds": elapsed, "history": {}, "message": "out of memory" if state == "crashed" else "",
        })  # fmt: skip
    return trials


def best_of(trials):
    return min((row for row in trials if row["state"] == "ok"), key=lambda row: row["error"])


class Balance(HTMLParser):
    """Raises if tags are not closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.cells = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in {"meta", "path", "use", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and tag not in {"path", "use"}:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "td":
            self.cells.append(data)


def parsed(text):
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    return parser


def test_page_holds_the_answer_every_trial_and_all_figures():
    trials = make_trials(30)
    best = best_of(trials)
    text = page(
        trials,
        {
            **SUMMARY,
            "best": best["hyperparameters"],
            "validation_error": 0.0123,
            "test_error": 0.0345,
            "test_error_as_trained": 0.0321,
            "message": "the final training failed",
        },
    )
    assert "<li>the final training failed</li>" in text
    cells = parsed(text).cells
    assert text.count("<svg") == 6
    assert "<b>0.0123</b>" in text
    assert "<b>0.0345</b><span>test error, plainly</span>" in text
    assert "<b>0.0321</b><span>test error, as trained</span>" in text
    assert "30 of 30" in text
    assert f"<b>{best['hyperparameters']['learning_rate']:.4g}</b>" in text
    assert cells[:: len(cells) // 30] == [str(number) for number in range(1, 31)]
    assert text.count('class="best"') == 1
    assert "Trial 15, 16: the fit did not converge" in text
    assert "Trial 12: out of memory" in text


def test_page_asks_the_network_for_nothing():
    text = page(make_trials(12), SUMMARY)
    assert not re.findall(r"""(?:src|href|url\()\s*=?\s*["']?(?!#|data:)[\w/:.]+""", re.sub(r"url\(#", "", text))
    assert "<script" not in text
    assert "@import" not in text
    assert all(url.startswith("http://www.w3.org/") for url in re.findall(r'xmlns[\w:]*="([^"]+)"', text))


def test_a_running_study_shows_what_it_believes_so_far():
    trials = make_trials(7)
    text = page(trials, SUMMARY)
    assert "<span>lowest validation error so far</span>" in text
    assert f"<b>{trials[0]['hyperparameters']['dropout']:.4g}</b><span>dropout</span>" in text


def test_user_text_is_escaped():
    trials = make_trials(6)
    trials[3]["message"] = "<script>alert(1)</script>"
    text = page(trials, {**SUMMARY, "problem": "a<b>&"})
    assert "<script>" not in text
    assert "a&lt;b&gt;&amp;" in text


def test_names_are_no_formulas():
    space = {r"lr$\foo$": SPACE["learning_rate"], "kind": {"type": "Categorical", "choices": ["$a$", "b"]}}
    trials = make_trials(6)
    for trial in trials:
        trial["hyperparameters"] = {r"lr$\foo$": 1e-3, "kind": "$a$"}
        trial["incumbent"] = trial["incumbent"] and trial["hyperparameters"]
    text = page(trials, SUMMARY | {"space": space})
    assert r"lr$\foo$</text>" in text
    assert "$a$</text>" in text


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_few_rows_and_no_predictions(count):
    text = page(make_trials(count), SUMMARY)
    assert parsed(text)
    assert f"{count} of 30" in text
    for missing in (
        "No evaluation has both a predicted and an observed error.",
        "No evaluation has both a predicted and a measured cost.",
        "No trial was chosen to learn where the optimum is in the whole space.",
    ):
        assert text.count(missing) == 1


def test_only_figures_without_anything_to_show_are_replaced_by_words():
    trials = [{**row, "entropy": None} for row in make_trials(12)]
    text = page(trials, SUMMARY)
    assert "No trial was chosen to learn" in text
    assert "No evaluation has both" not in text
    text = page([{**row, "cost_seconds": 0.0} for row in trials], SUMMARY)  # as of crashed processes
    assert "predicted and a measured cost" in text
    assert "an observed error" not in text


def test_everything_failed():
    trials = [{**row, "state": "crashed", "error": math.nan, "cost_seconds": None} for row in make_trials(8)]
    assert "8 trials: 8 crashed" in page(trials, SUMMARY)


@pytest.mark.parametrize("cost", ["seconds", "work"])
def test_a_problem_that_is_no_training_and_has_negative_objectives(cost):
    trials = [
        {**row, "error": -3.0 + 0.1 * row["number"], "presample_ratio": None, "fidelity": row["s"], "state": "ok",
         "predicted_error": -3.2}
        for row in make_trials(10)
    ]  # fmt: skip
    fidelity = {"name": "s", "low": 0.0, "high": 1.0, "integer": False}
    text = page(trials, {**SUMMARY, "transform": "identity", "cost": cost, "fidelity": fidelity})
    assert ">s</text>" in text
    assert "B / b" not in text
    assert "-3.2" in text.replace("−", "-")


def test_an_error_of_zero_stays_on_the_log_scale():
    trials = make_trials(8)
    trials[2]["error"] = 0.0
    figure = figures.errors_over_time(
        np.arange(8.0), np.arange(1.0, 9.0), np.array([0.1, 0.0, 0.4, np.nan, 0.2, 0.2, 0.2, 0.05]), np.full(8, np.nan),
        np.ones(8), ["ok"] * 8, log=True, fidelity_name="s",
    )  # fmt: skip
    drawn = figure.axes[0].collections[0].get_offsets()[:, 1]
    assert drawn.tolist() == [0.1, 0.025, 0.4, 0.2, 0.2, 0.2, 0.05]
    assert figure.axes[0].lines[1].get_ydata().tolist() == [0.1] + [0.025] * 7
    assert parsed(page(trials, SUMMARY))


@pytest.mark.parametrize("count", [0, 1, 30])
def test_figures_number_trials_from_one(count):
    trials = make_trials(count)
    for name in ("errors", "choices", "entropy"):
        figure = FIGURES[name][0](trials, SUMMARY)
        for axes in figure.axes if figure else ():
            if name == "choices" or axes.get_xlabel() == "trial":
                drawn = [c.get_offsets()[:, 0] for c in axes.collections] + [line.get_xdata() for line in axes.lines]
                assert set(np.concatenate(drawn or [[]]).tolist()) <= set(range(1, count + 1))
                low, high = axes.get_xlim()
                assert 0.0 < low < high
                assert low < 1.0 < high or count == 0


def test_a_dimension_is_whole_by_its_type_not_by_its_bounds():
    space = {name: {"type": name, "low": 0, "high": 1, "log": False} for name in ("Float", "Integer")}
    _, axes = axes_of([], {**SUMMARY, "space": space})
    assert [axis.integer for axis in axes] == [False, True]
    assert [label for _, label in axes[0].ticks()] == ["0", "0.25", "0.5", "0.75", "1"]
    assert [label for _, label in axes[1].ticks()] == ["0", "1"]


def test_axis_ticks_stay_inside_and_keep_apart():
    for axis in (
        figures.Axis("a", 1e-7, 0.1, log=True),
        figures.Axis("b", 16, 256, log=True),
        figures.Axis("c", 0, 0.5),
    ):
        units = [position for position, _ in axis.ticks()]
        assert units[0] == 0.0
        assert units[-1] == 1.0
        assert min(np.diff(units)) > 0.1
        assert 3 <= len(units) <= 9


def test_report_of_a_real_study(tmp_path):
    result = tune("branin", "random", evaluations=6, storage=tmp_path, progress=False)
    path = write_report(tmp_path)
    text = path.read_text()
    cells = parsed(text).cells
    assert path == tmp_path / "report.html"
    assert [cells[i] for i in range(0, len(cells), len(cells) // 6)] == list("123456")
    kept = [json.loads(line)["number"] for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert kept == list(range(6))  # what is kept counts as the study does
    assert f"<b>{shown(result.hyperparameters['x1'])}</b><span>x1</span>" in text
    assert shown(result.rows[3]["error"]) in cells


def test_the_best_so_far_runs_forward_in_time():
    """Two workers end out of turn, and of one that was given back nobody knows when."""
    seconds, error = np.array([10.0, 60.0, 30.0, np.nan, 40.0]), np.array([0.5, 0.1, 0.4, np.nan, 0.3])
    unknown = np.full(5, np.nan)
    drawn = figures.errors_over_time(
        seconds, np.arange(1.0, 6.0), error, unknown, np.ones(5), ["ok"] * 3 + ["preempted", "ok"], log=False,
        fidelity_name="s",
    )  # fmt: skip
    left, right = (next(line for line in axes.lines if line.get_label().startswith("best")) for axes in drawn.axes[:2])
    assert left.get_xdata()[:4].tolist() == [10.0, 30.0, 40.0, 60.0]
    assert left.get_ydata()[:4].tolist() == [0.5, 0.4, 0.3, 0.1]
    assert right.get_ydata().tolist() == [0.5, 0.1, 0.1, 0.1, 0.1]


def test_huge_integers_and_names_of_files_that_are_no_text_are_written(tmp_path):
    def evaluate(seed, hyperparameters, fidelity):
        raise ValueError("no file \udcff")

    problem = Problem("huge", SearchSpace({"n": Integer(0, 10**30)}), evaluate, Fidelity("s", 1, 1))
    with pytest.warns(UserWarning, match="no evaluation succeeded") as said:
        tune(problem, "random", evaluations=2, storage=tmp_path, progress=False)
    assert len(said) == 1
    assert r"no file \udcff" in (tmp_path / "report.html").read_text()
