"""Fyers (India): the market feed, log-in, instruments, candles and quotes. Built on API v3, without the vendor's
SDK."""
