"""Contract tests and closed-form problems, for this package's tests and for authors of plug-ins."""
