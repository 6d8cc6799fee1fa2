"""Notebooks: what their first cells call, and how they are executed and stored."""
