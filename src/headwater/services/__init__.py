"""The control plane: use cases over wishes. Nothing here moves a row."""
