"""What all experiments share: cells and their rows, the processes that run them, curves, figures and tables."""
