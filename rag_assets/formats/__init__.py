"""File formats, each to Markdown with its metadata."""
