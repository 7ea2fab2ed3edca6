"""BoTorch's fully Bayesian Gaussian process (SAAS), at the target fidelity, set up as in its tutorial.

It is told that there is no noise. NUTS runs anew for each suggestion, with 256 steps of warm-up and 128 of which every
sixteenth is kept; then expected improvement is maximised. Its answer is the evaluated point of lowest predicted mean.
"""

import torch
from botorch.acquisition import qLogExpectedImprovement
from botorch.fit import fit_fully_bayesian_model_nuts
from botorch.models.fully_bayesian import SaasFullyBayesianSingleTaskGP
from botorch.models.transforms.outcome import Standardize
from botorch.optim import optimize_acqf

torch.set_default_dtype(torch.float64)


def suggest(seed, x, s, y, fixed_cost):
    """The next x, at the target."""
    torch.manual_seed(seed)
    seen, values = torch.tensor(x), -torch.tensor(y)[:, None]
    no_noise = torch.full_like(values, 1e-6)
    model = SaasFullyBayesianSingleTaskGP(seen, values, no_noise, outcome_transform=Standardize(m=1))
    fit_fully_bayesian_model_nuts(
        model, warmup_steps=256, num_samples=128, thinning=16, disable_progbar=True, seed=seed
    )
    gain = qLogExpectedImprovement(model, best_f=values.max())
    bounds = torch.stack([torch.zeros(x.shape[1]), torch.ones(x.shape[1])])
    chosen, _ = optimize_acqf(gain, bounds=bounds, q=1, num_restarts=10, raw_samples=1024)
    with torch.no_grad():
        best = seen[model.posterior(seen).mixture_mean.argmax()]
    return chosen[0], 1.0, best, best
