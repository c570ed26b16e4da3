"""A finished classifier as files that other programs load, each checked against the original."""
