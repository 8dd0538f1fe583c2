"""Array functions shared by models."""
