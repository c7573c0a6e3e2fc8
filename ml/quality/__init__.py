"""Quality classes of what machines make, from how it was made."""
