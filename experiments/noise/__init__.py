"""How noisy an evaluation is by what it costs, and what noisy ones are worth (Ariafar et al. 2021, figures 1 and 4)."""
