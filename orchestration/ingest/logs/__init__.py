"""From log lines to signals: reading lines, mining templates, following traces, judging windows."""
