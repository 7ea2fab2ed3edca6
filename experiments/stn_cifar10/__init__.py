"""A self-tuning AlexNet-like network on CIFAR-10 with 15 hyperparameters."""
