"""MLPerf Training benchmarks in pure JAX behind one entry point."""

__version__ = "0.1.0"
