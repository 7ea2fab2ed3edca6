"""Value-function tuning of L2 weights (Sinha et al., arXiv 2208.12118) against searches with as many trainings.

    TFDS_DATA_DIR=... python -m experiments.value_function_mnist --scale cpu

A cell is a network, a data set, a number of images and one or two weights; a seed gives the subset of images. Every
method trains on the same 60 % of the subset with the same lower level, and chooses by the loss on the other 40 %. Its
answer is judged by test loss twice: as trained on the 60 %, as published, and trained again on the whole subset. The
tuner's weights have learnt from the whole subset already, so the second comparison is the fair one; the goal set here
is for the first.
"""
