"""Quality metrics, each on its official scorer."""
