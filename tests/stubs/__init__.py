"""Servers that tests start in a thread: they answer as they are told and remember what they were asked."""
