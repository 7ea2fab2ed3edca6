"""Value-function tuning of L2 weights (Sinha et al., arXiv 2208.12118) against searches with as many trainings.

    TFDS_DATA_DIR=... python -m experiments.value_function_mnist --scale cpu

A cell is a network, a data set of so many images and one or two weights; a seed is its subset. Every method trains on
the same 60 % of the subset with the same lower level, and chooses by the loss on the other 40 %. Its answer is judged
by test loss twice: as published, as trained on the 60 %; and trained again on the whole subset. The tuner's weights
have learnt from the whole subset already, so the second is the fair comparison; the goal set here is the first.
"""
