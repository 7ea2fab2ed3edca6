"""BoTorch's multi-fidelity acquisitions per known cost, set up as in its tutorial on continuous fidelities.

SingleTaskMultiFidelityGP on standardised outcomes, fitted by maximum a posteriori; an inverse cost weighted utility
with the true affine cost; the tutorial's numbers of restarts, raw samples and fantasies. Its answer is the maximiser
of the posterior mean at the target.
"""

import torch
from botorch import fit_gpytorch_mll
from botorch.acquisition import PosteriorMean
from botorch.acquisition.cost_aware import InverseCostWeightedUtility
from botorch.acquisition.fixed_feature import FixedFeatureAcquisitionFunction
from botorch.acquisition.knowledge_gradient import qMultiFidelityKnowledgeGradient
from botorch.acquisition.max_value_entropy_search import qMultiFidelityMaxValueEntropy
from botorch.acquisition.utils import project_to_target_fidelity
from botorch.models.cost import AffineFidelityCostModel
from botorch.models.gp_regression_fidelity import SingleTaskMultiFidelityGP
from botorch.models.transforms.outcome import Standardize
from botorch.optim import optimize_acqf
from botorch.optim.initializers import gen_one_shot_kg_initial_conditions
from gpytorch.mlls import ExactMarginalLogLikelihood

torch.set_default_dtype(torch.float64)
OPTIONS = {"batch_limit": 5, "maxiter": 200}
RESTARTS, RAW, FANTASIES, CANDIDATES = 10, 512, 128, 1000


def suggest(seed, x, s, y, fixed_cost, *, acquisition):
    """The next (x, s)."""
    torch.manual_seed(seed)
    dimension = x.shape[1]
    seen = torch.cat([torch.tensor(x), torch.tensor(s)[:, None]], dim=1)
    model = SingleTaskMultiFidelityGP(
        seen, -torch.tensor(y)[:, None], data_fidelities=[dimension], outcome_transform=Standardize(m=1)
    )
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    bounds = torch.stack([torch.zeros(dimension + 1), torch.ones(dimension + 1)])
    cost = AffineFidelityCostModel(fidelity_weights={dimension: 1.0}, fixed_cost=fixed_cost)
    shared = {"cost_aware_utility": InverseCostWeightedUtility(cost_model=cost), "project": _project(dimension)}

    at_target = FixedFeatureAcquisitionFunction(PosteriorMean(model), d=dimension + 1, columns=[dimension], values=[1])
    recommendation, value = optimize_acqf(
        at_target, bounds=bounds[:, :-1], q=1, num_restarts=RESTARTS, raw_samples=1024, options=OPTIONS
    )
    if acquisition == "knowledge gradient":
        gain = qMultiFidelityKnowledgeGradient(model, num_fantasies=FANTASIES, current_value=value, **shared)
        starts = gen_one_shot_kg_initial_conditions(gain, bounds=bounds, q=1, num_restarts=RESTARTS, raw_samples=RAW)
    else:
        gain = qMultiFidelityMaxValueEntropy(model, candidate_set=torch.rand(CANDIDATES, dimension + 1), **shared)
        starts = None
    chosen, _ = optimize_acqf(gain, bounds=bounds, q=1, num_restarts=RESTARTS, raw_samples=RAW,
                              batch_initial_conditions=starts, options=OPTIONS)  # fmt: skip
    with torch.no_grad():
        incumbent = seen[model.posterior(_project(dimension)(seen)).mean.argmax(), :-1]
    return chosen[0, :-1], float(chosen[0, -1]), recommendation[0], incumbent


def _project(dimension):
    return lambda points: project_to_target_fidelity(points, d=dimension + 1, target_fidelities={dimension: 1.0})
