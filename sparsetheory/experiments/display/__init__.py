"""How results are shown: figures, tables, the report, and the terminal."""
