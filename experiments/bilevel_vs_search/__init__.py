"""Every tuner of this project on one problem of regularisation: test loss against seconds.

    TFDS_DATA_DIR=... python -m experiments.bilevel_vs_search --scale cpu

Searches train many times and answer with hyperparameters; at each moment theirs is the network that was trained with
the best so far, on the training part. Gradient-based tuners answer with a network, of the epoch of lowest score so
far. Seconds are of the wall: compilation, suggestions and validation count for all, judging by the test set for none.
At the end the hyperparameters of each answer are also trained plainly on training and validation examples together.
"""
