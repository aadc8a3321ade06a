"""Populations that breed: M2N2, CycleQD, and what they keep and draw from."""
