"""HTTP: routes, payloads, errors, authentication."""
