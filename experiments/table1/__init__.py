"""Table 1 of Ariafar et al. (2021): the error of Fabolas' final incumbent and the size of the subset on which it was
seen."""
