"""What runs inside the sandbox; standard library only, so that a bare interpreter can import it."""
