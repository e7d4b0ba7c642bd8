"""Read tables: CSV and parquet."""
