"""Rungs: candidates are scored on a few items first, and only the promising ones on all.

`ladder` says in what order items are scored, `placing` and `brackets` where a candidate begins,
`promotion` who goes on by comparison with peers, `racing` and `rivals` who is proven worse than the
front, `estimates` and `judging` what the others are worth, and `climbing` keeps the books of a run.
"""
