"""A wide residual network on CIFAR-10, four hyperparameters: Ariafar et al. (2021), section 4.2, figure 2."""
