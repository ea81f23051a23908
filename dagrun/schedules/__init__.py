"""The kinds of schedules: one class a kind, all of plugins/schedule.py's form."""
