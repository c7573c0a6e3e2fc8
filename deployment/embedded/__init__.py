"""The default stack: real services without Docker, root or system Java."""
