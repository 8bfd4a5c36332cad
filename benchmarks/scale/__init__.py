"""Jobs at the size of the limits: the real plan, fetch, aggregate, decide and finish over objects that nobody stores.

Only the workers are made up: what they publish follows from the pattern that the objects are made of.
"""
