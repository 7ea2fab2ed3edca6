"""A fully connected network on MNIST, six hyperparameters: Ariafar et al. (2021), appendix D."""
