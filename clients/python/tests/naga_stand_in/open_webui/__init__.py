"""A stand-in for NAGA, whose source is in no package registry: its functions that the adapter takes over, by the same names and
signatures and with the same SQL, in words of our own. It is no fork of anything, and serves tests only."""
