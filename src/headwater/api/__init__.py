"""HTTP: routes, payloads, errors, authentication.

The one place that knows the names of the wire: `payloads` turns them into the services' dataclasses and back, `routes` calls one service
method per operation, and everything around them (`gate`, `routing`, `strict_json`, `errors`) makes sure that nothing else comes in or out.
"""
