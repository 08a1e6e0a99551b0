"""Cache the hidden states of frozen large speech models once; probe them for emotion as often as you like."""

__version__ = "0.1.0"
