"""Questions that are answered again whenever the data change."""
