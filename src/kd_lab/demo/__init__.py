"""A page on this machine that asks teachers and students about any text."""
