"""Every SQL statement of the Claude worker."""
