"""A comparison of runs in W&B, as code: a workspace and a report."""
