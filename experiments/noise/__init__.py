"""How noisy evaluations are, depending on their cost, and what noisy ones are worth (Ariafar et al. 2021, figures 1,
4)."""
