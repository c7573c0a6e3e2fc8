"""Training: a challenger per tenant and horizon, judged by blocking checks."""
