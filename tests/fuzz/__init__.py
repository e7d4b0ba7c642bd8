"""Fuzz what reads input of strangers: `make fuzz MINUTES=10`."""
