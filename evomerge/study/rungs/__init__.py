"""Rungs: candidates are scored on a few items first, and only the promising ones on all.

`ladder` says in what order items are scored, `promotion` who goes on by comparison with peers,
`racing` who is proven worse than the front, `estimates` what the others are worth, and `climbing`
keeps the books of a run.
"""
