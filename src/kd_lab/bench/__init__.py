"""How long a training step takes, what it is made of, and what it could not do without."""
