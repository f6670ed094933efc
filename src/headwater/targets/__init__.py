"""Where changes go to: one module per kind of database."""
