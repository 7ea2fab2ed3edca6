"""A self-tuning LSTM on a text, against random search given the same seconds."""
