"""MAP: quadratic surrogates of few merges, searched for the front (Li et al. 2024, 2406.07529)."""
