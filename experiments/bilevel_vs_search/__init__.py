"""Every tuner of this project on one regularisation problem: test loss against seconds.

    TFDS_DATA_DIR=... python -m experiments.bilevel_vs_search --scale cpu

Searches train many times and answer with hyperparameters; at each moment their network is the one trained with the
best hyperparameters so far, on the training part. Gradient-based tuners answer with the network of the epoch of lowest
score so far. Seconds are wall time: compilation, suggestions and validation count for all methods, judging on the test
set for none. At the end the hyperparameters of each answer are also trained plainly on training and validation examples
together.
"""
