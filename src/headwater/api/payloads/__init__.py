"""What travels: the contract's request and response bodies as models, with their ways to and from the services' dataclasses."""
