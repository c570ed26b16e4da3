"""Listed settings at several seeds, carried out in order and kept small: an experiment planned beforehand."""
