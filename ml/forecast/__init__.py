"""Forecasts of machine metrics and production: candidates, their backtest, intervals and limits."""
