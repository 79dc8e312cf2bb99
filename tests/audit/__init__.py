"""What `make audit` looks at: licences of what is installed, known vulnerabilities, and the lock file with hashes."""
