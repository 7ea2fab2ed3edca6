"""What is measured: an experiment a folder, settings apart from what runs and draws them, rows beside the figures."""
