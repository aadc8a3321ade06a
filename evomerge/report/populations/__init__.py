"""Archives and family trees of a run, rebuilt from its journal and drawn."""
