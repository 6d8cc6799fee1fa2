"""Configs: the schema of all options, reading and checking a YAML file, and building objects from its values."""
