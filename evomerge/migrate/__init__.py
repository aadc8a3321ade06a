"""From mergekit-evolve to evomerge: its configurations and command lines become studies.

`translation.translate` is the way in; `options.TABLE` says what becomes of each option.
"""
