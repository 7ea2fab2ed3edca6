"""Plain NumPy float64 twins of the equations, written from the papers and trusted through their own tests."""
