"""Budgets: what a search may take, what it took, and when it stops."""
