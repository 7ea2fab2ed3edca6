"""Answers questions on standard input, one JSON line each, with one adapter. Runs in the peers' environment.

    python worker.py optuna_adapter '{"sampler": "gp"}'

An adapter has `suggest(seed, x, s, y, fixed_cost, **settings) -> (x, s, recommendation, incumbent)`, in NumPy arrays;
objectives are minimised, and the target fidelity is 1. Where the coordinates of x are not real numbers in [0, 1],
`axes` says what each is: an ("integer", n) or a ("choice", n) out of {0, ..., n - 1}.
"""

import contextlib
import importlib
import json
import sys

import numpy as np


def main() -> None:
    """Answer until standard input ends."""
    answers, settings = sys.stdout, json.loads(sys.argv[2])
    with contextlib.redirect_stdout(sys.stderr):  # some peers print
        for line in sys.stdin:
            question = json.loads(line)
            seen = (np.array(question.pop(name)) for name in ("x", "s", "y"))
            try:
                suggest = importlib.import_module(sys.argv[1]).suggest  # here, so that a failure is reported too
                found = suggest(question.pop("seed"), *seen, question.pop("fixed_cost"), **question, **settings)
                x, s, recommendation, incumbent = (np.asarray(part).tolist() for part in found)
                answer = {"x": x, "s": s, "recommendation": recommendation, "incumbent": incumbent}
            except Exception as error:  # a peer that fails is reported in its own words
                answer = {"error": f"{type(error).__name__}: {error}"}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
