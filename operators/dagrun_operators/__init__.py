"""The built-in operators: one file each, found through the entry-point group `dagrun.operators`."""
