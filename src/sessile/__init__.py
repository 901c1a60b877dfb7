"""Session-based authentication: the server keeps the login state, and access can be ended at once."""
