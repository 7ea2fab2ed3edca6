"""One turn of a worker: take a slot, evaluate it, record the outcome."""

import time
import warnings
from typing import Any, NamedTuple

from optuna.trial import FrozenTrial

from ibo_jax.study import optuna_methods, rows
from ibo_jax.study.convert import distributions, pack, plain
from ibo_jax.study.evaluate import evaluate
from ibo_jax.study.propose import propose, sampler_seed_of, seed_of
from ibo_jax.study.search import Search, Slots, named, observed, state_after
from ibo_jax.study.storage import Store, is_final
from ibo_jax.types import Value

__all__ = ["Ticket", "refresh", "take", "work"]


class Ticket(NamedTuple):
    """An attempt that this worker has to evaluate."""

    trial_id: int
    slot: int
    hyperparameters: dict[str, Value]
    fidelity: float | int


def take(search: Search) -> Ticket | None:
    """The next attempt for this worker: an interrupted slot again, else a new one; None if the budget is spent.

    Workers take turns, so that no two take the same slot and each sees what the others are evaluating.
    """
    with search.store.lock():
        search.store.reap()
        search.progress.update(refresh(search.store), search.elapsed)
        if search.seconds is not None and search.elapsed >= search.seconds:
            return None
        slots = search.store.slots()
        for slot, attempts in slots.items():
            if search.is_asked_for(slot) and attempts[-1].state.is_finished() and not is_final(attempts):
                return _again(search, slot, attempts[-1])
        slot = max(slots, default=-1) + 1
        return _new(search, slot, slots) if search.is_asked_for(slot) else None


def work(search: Search, ticket: Ticket) -> None:
    """Evaluate and record. If the worker is interrupted, the slot is given back."""
    search.progress.note(f"trial {ticket.slot + 1}: training at {search.problem.fidelity.name} {ticket.fidelity:.3g}")
    try:
        seed = seed_of(search.proposer, ticket.slot)
        stop = search.optuna and optuna_methods.watch(search.optuna, search.store, ticket.slot, ticket.trial_id)
        outcome, wall = evaluate(search.problem, seed, ticket.hyperparameters, ticket.fidelity, stop)
        told = {**outcome._asdict(), "evaluate_seconds": wall, "elapsed_seconds": search.elapsed}
        if outcome.state == "ok" and search.problem.transform == "log" and outcome.error < 0:
            advice = (
                f"expected {search.problem.name} to have errors of at least 0, because their logarithm is modelled, "
                f"got {outcome.error}; state transform='identity' in the Problem and start anew"
            )
            if not any(row["state"] == "ok" for row in rows.rows_of(search.store)):
                raise ValueError(advice)
            warnings.warn(advice, stacklevel=2)
            told |= {"state": "infeasible", "error": None, "message": advice}  # not raised: keep earlier trials
        if told["state"] == "ok" and not search.paid(told) > 0:
            raise ValueError(
                f"expected {search.problem.name} to state a cost_work > 0, got {outcome.cost_work}; "
                'return it in the Outcome, or use cost="seconds"'
            )
    except BaseException as error:
        message = f"interrupted by {type(error).__name__}"
        search.store.finish(ticket.trial_id, {"state": "preempted", "message": message})
        raise
    search.store.finish(ticket.trial_id, plain(told))


def refresh(store: Store) -> list[rows.Row]:
    """The rows, after updating `rows.jsonl`; the lock must be held, so that older rows do not overwrite newer ones."""
    found = rows.rows_of(store)
    if store.directory is not None:
        rows.write(store.directory, found)
    return found


def _again(search: Search, slot: int, attempt: FrozenTrial) -> Ticket:
    """A retry: the same slot, and with it the key, the hyperparameters and the fidelity."""
    suggestion, state = attempt.user_attrs["suggestion"], attempt.system_attrs["ibo_jax:state"]
    trial_id = search.store.start(slot, attempt.params, attempt.distributions, suggestion, state)
    return _ticket(search, trial_id, slot, attempt.params)


def _new(search: Search, slot: int, slots: Slots) -> Ticket:
    problem, began = search.problem, time.perf_counter()
    search.progress.note(f"trial {slot + 1}: choosing")
    total = search.evaluations if search.protocol == "default" else None
    suggestion, state = propose(search.proposer, slot, observed(search, slots), state_after(slots), evaluations=total)
    parameters = problem.space.decode(suggestion.x)
    if search.optuna is not None:  # it chooses the point; everything else in the suggestion is as for random search
        chosen = optuna_methods.choose(search.optuna, sampler_seed_of(search.proposer, slot), slots)
        parameters = chosen.hyperparameters
        suggestion = suggestion._replace(reason=chosen.reason, warning=chosen.warning)
    fidelity = problem.fidelity.decode(suggestion.fidelity)
    told = {
        "s": problem.fidelity.encode(fidelity),
        "reason": suggestion.reason,
        "warning": suggestion.warning,
        "predicted_objective": suggestion.predicted_objective,
        "predicted_sd": suggestion.predicted_sd,
        "predicted_log_cost": suggestion.predicted_log_cost,
        "entropy": suggestion.entropy,
        "incumbent": named(problem, suggestion.incumbent),
        "predicted_error": search.scale.natural(suggestion.incumbent_objective),
        "recommendation": named(problem, suggestion.recommendation),
        "suggest_seconds": time.perf_counter() - began,
    }
    parameters |= {problem.fidelity.name: fidelity}
    kinds = distributions(problem.space, problem.fidelity)
    trial_id = search.store.start(slot, parameters, kinds, plain(told), pack(state))
    return _ticket(search, trial_id, slot, parameters)


def _ticket(search: Search, trial_id: int, slot: int, parameters: dict[str, Any]) -> Ticket:
    hyperparameters = {name: parameters[name] for name in search.problem.space.names}
    return Ticket(trial_id, slot, hyperparameters, parameters[search.problem.fidelity.name])
