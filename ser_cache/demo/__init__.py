"""A demonstration that needs no network, no data and no GPU: a synthetic emotional speech corpus."""
