"""The operations, by subject. Each function calls one service method; `def`, so that blocking work runs in the thread pool."""
