"""dagrun runs YAML workflows: readable files, durable state, retry from the task that failed."""

__version__ = "0.1.0"
