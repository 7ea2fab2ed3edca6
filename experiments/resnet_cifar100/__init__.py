"""A wide residual network on CIFAR-100, four hyperparameters: Ariafar et al. (2021), section 4.3, figure 3."""
