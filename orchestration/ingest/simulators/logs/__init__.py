"""Log lines of a small shop of services, with anomalies of six types on request or by chance."""
