"""The model interface and its requests."""
