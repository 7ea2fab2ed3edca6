"""A convolutional network on CIFAR-10, six hyperparameters: Ariafar et al. (2021), section 4.1, figure 2 left."""
