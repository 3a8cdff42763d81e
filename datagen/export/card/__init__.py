"""The card of the dataset, README.md: YAML for the hub, then text for people."""
