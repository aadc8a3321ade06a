"""The built-in merge methods, one registered function each."""
