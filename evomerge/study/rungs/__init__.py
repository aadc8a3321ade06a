"""Rungs: candidates are scored on a few items first, and only the promising ones on all.

`items` says in what order items are scored, `promotion` who climbs by comparison with peers,
`racing` who is proven worse than the front, and `climbing` keeps the books of a run.
"""
