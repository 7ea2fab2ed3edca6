"""A self-tuning LSTM on a text: against random search of equal seconds."""
